#include <sys/types.h>

/* Have another process share this one's memory for as long as it lives, which is until it is killed or
 * its parent ends, which is this one's as well. Returns its number; 0 if there is none; -1 if it is
 * not known to be harmless, so that nothing of a program's may come into this memory. */
pid_t hold_memory(pid_t parent);
