#include <stddef.h>

/* Write to the descriptor which pages this process has touched since it was forked, as far as the
 * kernel tells. */
void report_pages(int descriptor);

/* Have these pages ready in this process; `ranges` is what was written. */
void populate_pages(const char *ranges, size_t size);
