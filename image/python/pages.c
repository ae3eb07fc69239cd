/* Which pages of memory a program of the zygote's touches on its way, and to have them ready.
 *
 * A forked process shares its parent's memory until it writes to it, and has to ask the kernel for
 * each page, one by one, at the first touch. For the shortest of programs this was most of the time
 * that it took. A scout runs a small one once and says which pages were its own in the end; those
 * that wait for a program then get them in advance, while nobody waits for them. */

#include "pages.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Of an entry in /proc/PID/pagemap. */
#define PRESENT (UINT64_C(1) << 63)
#define OF_FILE (UINT64_C(1) << 61)
#define MAPPED_ONCE (UINT64_C(1) << 56)

#define PAGE 4096
#define ENTRIES 512
/* More than a small program touches: what each page costs is memory. */
#define MOST_PAGES 8192
/* To have so many ready takes less than a millisecond. */
#define PAGES_AT_ONCE 128

struct range {
    uint64_t start, size;
    int64_t advice;
};

struct report {
    int descriptor;
    uint64_t pages;
    struct range range;
};

static int write_range(struct report *report)
{
    if (report->range.size == 0)
        return 0;
    report->pages += report->range.size / PAGE;
    if (report->pages > MOST_PAGES)
        return -1;
    ssize_t size = sizeof report->range;
    return write(report->descriptor, &report->range, (size_t)size) == size ? 0 : -1;
}

static int add_page(struct report *report, uint64_t address, int64_t advice)
{
    struct range *range = &report->range;
    if (range->size && range->start + range->size == address && range->advice == advice) {
        range->size += PAGE;
        return 0;
    }
    if (write_range(report) < 0)
        return -1;
    *range = (struct range){address, PAGE, advice};
    return 0;
}

static int report_mapping(struct report *report, int pagemap, uint64_t from, uint64_t to, int writable)
{
    uint64_t entries[ENTRIES];
    while (from < to) {
        uint64_t count = (to - from) / PAGE;
        if (count > ENTRIES)
            count = ENTRIES;
        ssize_t size = (ssize_t)(count * sizeof *entries);
        if (pread(pagemap, entries, (size_t)size, (off_t)(from / PAGE * sizeof *entries)) != size)
            return -1;
        for (uint64_t index = 0; index < count; index++, from += PAGE) {
            uint64_t entry = entries[index];
            if (!(entry & PRESENT))
                continue;
            /* What it still shares with the zygote it has only read, or not even that. */
            if (writable ? (entry & OF_FILE) || !(entry & MAPPED_ONCE) : !(entry & OF_FILE))
                continue;
            if (add_page(report, from, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0)
                return -1;
        }
    }
    return 0;
}

void report_pages(int descriptor)
{
    struct report report = {.descriptor = descriptor};
    char line[512], access[8];
    uint64_t from, to;
    FILE *maps = fopen("/proc/self/maps", "re");
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    while (maps && pagemap >= 0 && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, access) != 3)
            continue;
        /* The stack grows by itself, and the kernel's own pages are there anyway. */
        if (strchr(line, '[') && !strstr(line, "[heap]") && !strstr(line, "[anon"))
            continue;
        if (report_mapping(&report, pagemap, from, to, access[1] == 'w') < 0)
            break;
    }
    write_range(&report);
    /* The process ends now, and all that is open with it. */
}

static int is_awaited(int descriptor)
{
    struct pollfd work = {.fd = descriptor, .events = POLLIN};
    return poll(&work, 1, 0) > 0;
}

void populate_pages(const char *ranges, size_t size, int descriptor)
{
    struct range range;
    uint64_t pages = 0;
    for (; size >= sizeof range; ranges += sizeof range, size -= sizeof range) {
        memcpy(&range, ranges, sizeof range);
        /* A library may have complained, on the same way. */
        if (range.size > MOST_PAGES * PAGE)
            return;
        while (range.size > 0) {
            if (pages == 0) {
                if (is_awaited(descriptor))
                    return;
                pages = PAGES_AT_ONCE;
            }
            uint64_t part = range.size < pages * PAGE ? range.size : pages * PAGE;
            /* An older kernel cannot, or there is nothing at this place in this process. */
            madvise((void *)(uintptr_t)range.start, part, (int)range.advice);
            range.start += part;
            range.size -= part;
            pages -= (part + PAGE - 1) / PAGE;
        }
    }
}
