/* A process that keeps another one's memory, so that it is not taken down as soon as that one ends.
 *
 * To take down the hundred megabytes that a program shares with the zygote takes the kernel longer
 * than many programs run. It cannot be interrupted meanwhile, and whoever passes the program's answer
 * on has to wait for the processor. With a holder the memory stays until the zygote kills that, when
 * the answer is out.
 *
 * The holder is not the program's user, or it would have to go with the program's processes. But the
 * program can write to its memory, its code and stack included. So before there is a program, it has
 * given up all rights, has nothing open, and may ask the kernel for nothing but to wait for ever.
 *
 * It waits in a second thread, and its first one has ended. It is a zombie to those who list
 * processes: they would take it for the program otherwise, whose arguments are in this memory. */

#define _GNU_SOURCE
#include "holder.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which system calls are which is not known for this processor"
#endif

/* It takes less than a millisecond where the processor is free, and a tenth of a second where the
 * container has used up its share. */
#define LOOK_NANOSECONDS 50000
#define MOST_MILLISECONDS 1000

static struct {
    pid_t parent;
    int is_confined;
    /* Not 0 for as long as these threads may still run; the kernel says when they cannot. */
    pid_t first, second;
    _Alignas(16) char first_stack[4096], second_stack[4096];
} holder;

static int give_up_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return (int)syscall(SYS_capset, &header, none);
}

static int allow_nothing_but_to_wait(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ppoll, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int wait_for_ever(void *unused)
{
    (void)unused;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != holder.parent ||
        allow_nothing_but_to_wait() < 0)
        return 0;
    __atomic_store_n(&holder.is_confined, 1, __ATOMIC_RELEASE);
    for (;;)
        syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

static pid_t clone_onto(char *stack_end, int (*work)(void *), int flags, pid_t *runs)
{
    flags |= CLONE_VM | CLONE_CHILD_CLEARTID;
    *runs = 1;
    pid_t pid = clone(work, stack_end, flags, NULL, NULL, NULL, runs);
    if (pid < 0)
        *runs = 0;
    return pid;
}

/* Its user is the zygote's already, and stays so. */
static int begin(void *unused)
{
    const int a_thread = CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    (void)unused;
    prctl(PR_SET_NAME, "holder");
    if (close_range(0, ~0U, 0) == 0 && give_up_capabilities() == 0)
        clone_onto(holder.second_stack + sizeof holder.second_stack, wait_for_ever, a_thread,
                   &holder.second);
    return 0;
}

static int is_there(const int *what)
{
    return __atomic_load_n(what, __ATOMIC_ACQUIRE) != 0;
}

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether both threads are where they stay: the first has ended, and the second is confined, or has
 * ended as well. */
static int is_settled(void)
{
    const struct timespec pause = {0, LOOK_NANOSECONDS};
    const int64_t began = milliseconds();
    do {
        nanosleep(&pause, NULL);
        if (!is_there(&holder.first) && (is_there(&holder.is_confined) || !is_there(&holder.second)))
            return 1;
    } while (milliseconds() - began < MOST_MILLISECONDS);
    return 0;
}

pid_t hold_memory(pid_t parent)
{
    sigset_t all, before;
    holder.parent = parent;
    holder.is_confined = holder.second = 0;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone_onto(holder.first_stack + sizeof holder.first_stack, begin,
                           CLONE_PARENT | SIGCHLD, &holder.first);
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return 0;
    if (is_settled())
        return holder.is_confined ? pid : 0;
    kill(pid, SIGKILL);
    return -1;
}
