#include <stddef.h>

/* Write to the descriptor which pages this process has touched since it was forked, as far as the
 * kernel tells. */
void report_pages(int descriptor);

/* Have these pages ready in this process; `ranges` is what was written. Stops as soon as there is
 * something to read at the descriptor, if there is one: whoever waits needs few of them, and gets
 * those one by one. */
void populate_pages(const char *ranges, size_t size, int descriptor);
