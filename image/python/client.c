/* The image's `python3`: has a process forked from the preloaded interpreter run the program, and
 * passes for it: same arguments, directory, variables, descriptors, limits and signals on the way
 * in, same exit status on the way out. Whatever this does not know, or nobody answers, the real
 * interpreter gets.
 *
 * The process that runs the program answers for everything that is in the request: it has the
 * caller's own rights by then. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAL "/opt/sandbox/python3"
#define BIN "/opt/venv/bin/"
#define SOCKET "/run/code/python3"
/* The kernel's limit for one message is 253. */
#define MAX_FDS 250
/* Until then an interpreter has started by itself. */
#define ANSWER_MS 2000

extern char **environ;

enum { COMMAND = 'c', MODULE = 'm', SCRIPT = 'f', STDIN = 's' };

/* What comes first; sandbox/runner/requests.py takes it apart. */
struct request {
    uint32_t magic;
    uint32_t payload_bytes;
    uint32_t descriptors; /* Beside the working directory, which comes first. */
    uint32_t arguments;
    uint32_t variables;
    uint32_t kind;
    uint32_t first; /* Which argument is the program, or its name. */
    uint32_t offset; /* Where in it that begins. */
    uint32_t unbuffered;
    uint32_t umask;
    int32_t nice;
    uint32_t reserved;
    uint64_t ignored; /* Bit N-1 stands for signal N. */
    uint64_t blocked;
    uint64_t limits[RLIM_NLIMITS][2];
    uint8_t affinity[128];
    char name[16];
};
#define MAGIC 0x70793331u

struct event {
    int32_t type;
    int32_t value;
};
enum { PID = 'P', BEGUN = 'B', ENDED = 'E', STOPPED = 'S' };

static char **arguments;
static sigset_t before;
static volatile sig_atomic_t arrived[_NSIG];
static volatile sig_atomic_t any_arrived;

static void run_real(void)
{
    sigprocmask(SIG_SETMASK, &before, NULL);
    execv(REAL, arguments);
    int status = errno == ENOENT ? 127 : 126;
    static const char text[] = "python3: cannot execute " REAL "\n";
    if (write(2, text, sizeof text - 1) < 0)
        _exit(126);
    _exit(status);
}

/* --- what can be handed over --- */

static int starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* The interpreter finds itself, and so its packages, by the name it was called by. */
static int is_ours(const char *name)
{
    if (starts_with(name, BIN))
        name += strlen(BIN);
    else if (!starts_with(getenv("PATH") ? getenv("PATH") : "", "/opt/venv/bin:"))
        return 0;
    return strcmp(name, "python3") == 0 || strcmp(name, "python") == 0 ||
           strcmp(name, "python3.11") == 0;
}

/* As the interpreter reads its flags: any text, but for the number 0. */
static int is_set(const char *value)
{
    char *end;
    long number = strtol(value, &end, 10);
    return *value && (*end || number != 0);
}

static int variables_are_known(struct request *request)
{
    int no_bytecode = 0;
    for (char **variable = environ; *variable; variable++) {
        if (!strchr(*variable, '=') || starts_with(*variable, "LD_") ||
            **variable == '=' || starts_with(*variable, "MALLOC_") || starts_with(*variable, "__PYVENV_LAUNCHER__=") || starts_with(*variable, "GLIBC_TUNABLES="))
            return 0;
        if (!starts_with(*variable, "PYTHON"))
            continue;
        if (strcmp(*variable, "PYTHONDONTWRITEBYTECODE=1") == 0)
            no_bytecode = 1;
        else if (starts_with(*variable, "PYTHONUNBUFFERED="))
            request->unbuffered |= is_set(*variable + strlen("PYTHONUNBUFFERED="));
        else
            return 0;
    }
    return no_bytecode;
}

/* Options that change nothing, or only how output is buffered; then what is to be run. */
static int arguments_are_known(int count, struct request *request)
{
    int index = 1;
    for (; index < count && arguments[index][0] == '-' && arguments[index][1]; index++) {
        const char *option = arguments[index] + 1;
        for (; *option; option++) {
            if (*option == 'c' || *option == 'm') {
                request->kind = *option == 'c' ? COMMAND : MODULE;
                request->first = option[1] ? index : index + 1;
                request->offset = option[1] ? option + 1 - arguments[index] : 0;
                return request->first < (uint32_t)count;
            }
            if (*option == 'u')
                request->unbuffered = 1;
            else if (*option != 'B')
                return 0;
        }
    }
    request->first = index;
    if (index == count || strcmp(arguments[index], "-") == 0) {
        request->kind = STDIN;
        return 1;
    }
    request->kind = SCRIPT;
    return arguments[index][0] != 0;
}

static int describe_process(struct request *request)
{
    struct sigaction action;
    for (int number = 1; number < _NSIG; number++) {
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            request->ignored |= 1ull << (number - 1);
        if (sigismember(&before, number) == 1)
            request->blocked |= 1ull << (number - 1);
    }
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        if (getrlimit(resource, &limit) < 0)
            return 0;
        request->limits[resource][0] = limit.rlim_cur;
        request->limits[resource][1] = limit.rlim_max;
    }
    errno = 0;
    request->nice = getpriority(PRIO_PROCESS, 0);
    if (errno)
        return 0;
    if (sched_getscheduler(0) != SCHED_OTHER)
        return 0;
    /* The preloaded interpreter has more than this already. */
    if (request->limits[RLIMIT_AS][0] != RLIM_INFINITY ||
        request->limits[RLIMIT_DATA][0] != RLIM_INFINITY)
        return 0;
    if (sched_getaffinity(0, sizeof request->affinity, (cpu_set_t *)request->affinity) < 0)
        return 0;
    request->umask = umask(0);
    umask(request->umask);
    return prctl(PR_GET_NAME, request->name) == 0;
}

/* All open descriptors; those that close at an exec are closed by now. */
static int list_descriptors(int *found)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;
    if (directory == NULL)
        return -1;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(directory))
            continue;
        if (count == MAX_FDS) {
            count = -1;
            break;
        }
        found[count++] = atoi(entry->d_name);
    }
    closedir(directory);
    return count;
}

static char *pack_payload(int count, struct request *request, const int *descriptors)
{
    size_t size = sizeof(int32_t) * request->descriptors;
    for (int index = 0; index < count; index++)
        size += strlen(arguments[index]) + 1;
    for (char **variable = environ; *variable; variable++, request->variables++)
        size += strlen(*variable) + 1;
    char *payload = malloc(size), *end = payload;
    if (payload == NULL)
        return NULL;
    for (uint32_t index = 0; index < request->descriptors; index++) {
        int32_t number = descriptors[index];
        end = mempcpy(end, &number, sizeof number);
    }
    for (int index = 0; index < count; index++)
        end = stpcpy(end, arguments[index]) + 1;
    for (char **variable = environ; *variable; variable++)
        end = stpcpy(end, *variable) + 1;
    request->payload_bytes = end - payload;
    request->arguments = count;
    request->magic = MAGIC;
    return payload;
}

/* --- handing it over --- */

static int receive(int connection, struct event *event, int timeout_ms)
{
    size_t have = 0;
    struct pollfd ready = {.fd = connection, .events = POLLIN};
    while (have < sizeof *event) {
        int is_ready = poll(&ready, 1, timeout_ms);
        /* To be stopped and go on can interrupt even who has no handler. */
        if (is_ready < 0 && errno == EINTR)
            continue;
        if (is_ready <= 0)
            return 0;
        ssize_t count = recv(connection, (char *)event + have, sizeof *event - have, 0);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return 0;
        have += count;
    }
    return 1;
}

static int send_all(int connection, const char *data, size_t size)
{
    while (size) {
        ssize_t count = send(connection, data, size, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return 0;
        data += count;
        size -= count;
    }
    return 1;
}

static int send_request(int connection, struct request *request, const int *descriptors, int cwd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * (MAX_FDS + 1))];
        struct cmsghdr align;
    } control = {0};
    struct iovec data = {request, sizeof *request};
    size_t size = sizeof(int) * (request->descriptors + 1);
    struct msghdr message = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(size),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), &cwd, sizeof cwd);
    memcpy(CMSG_DATA(header) + sizeof cwd, descriptors, size - sizeof cwd);
    return sendmsg(connection, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *request;
}

/* The connection and the process at its other end, once that has begun. */
static int hand_over(int count, struct request *request, pid_t *pid)
{
    int descriptors[MAX_FDS];
    int found = list_descriptors(descriptors);
    if (found < 0)
        return -1;
    request->descriptors = found;
    char *payload = pack_payload(count, request, descriptors);
    int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (payload == NULL || cwd < 0 || connection < 0)
        return -1;
    /* Above all that the program can have: those are closed below. */
    int high = fcntl(connection, F_DUPFD_CLOEXEC, found ? descriptors[found - 1] + 1 : 0);
    if (high >= 0) {
        close(connection);
        connection = high;
    }
    /* So long for others that wait to be let in, and for what is sent to be taken. */
    struct timeval patience = {ANSWER_MS / 1000, ANSWER_MS % 1000 * 1000};
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    struct event event;
    if (setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        connect(connection, (struct sockaddr *)&address, sizeof address) < 0 ||
        !receive(connection, &event, ANSWER_MS) || event.type != PID ||
        !send_request(connection, request, descriptors, cwd) ||
        !send_all(connection, payload, request->payload_bytes)) {
        close(connection);
        close(cwd);
        return -1;
    }
    *pid = event.value;
    if (!receive(connection, &event, -1) || event.type != BEGUN) {
        close(connection);
        close(cwd);
        return -1;
    }
    /* A pipe that the program closes must be closed. */
    for (int index = 0; index < found; index++)
        if (descriptors[index] != connection)
            close(descriptors[index]);
    close(cwd);
    return connection;
}

/* --- while it runs --- */

static void on_signal(int number)
{
    arrived[number] = 1;
    any_arrived = 1;
}

/* Those that are ignored as well: the program may have thought better of it. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigfillset(&action.sa_mask);
    for (int number = 1; number < _NSIG; number++)
        if (number != SIGKILL && number != SIGSTOP)
            sigaction(number, &action, NULL);
}

/* `timeout` signals its whole group, of which the program is not a part. */
static int under_timeout(void)
{
    char path[] = "/proc/4294967295/comm", name[8] = "", digits[12];
    unsigned parent = getppid();
    int length = 0;
    if (getpgrp() != (pid_t)parent)
        return 0;
    do
        digits[length++] = '0' + parent % 10;
    while (parent /= 10);
    char *end = path + strlen("/proc/");
    while (length)
        *end++ = digits[--length];
    strcpy(end, "/comm");
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? 0 : read(file, name, sizeof name);
    close(file);
    return count == sizeof name && memcmp(name, "timeout\n", sizeof name) == 0;
}

static void relay_signals(pid_t pid)
{
    while (any_arrived) {
        int to_group = under_timeout();
        if (to_group) {
            /* It comes twice, to the process and to the group, too soon for two handlers. */
            struct timespec moment = {0, 2 * 1000 * 1000};
            sigset_t none;
            sigemptyset(&none);
            ppoll(NULL, 0, &moment, &none);
        }
        any_arrived = 0;
        for (int number = 1; number < _NSIG; number++)
            if (arrived[number]) {
                arrived[number] = 0;
                kill(to_group ? -pid : pid, number);
            }
    }
}

static void end_like(int status)
{
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    /* A limit of 0 keeps no core dump from the host's handler of those, if it has one. */
    prctl(PR_SET_DUMPABLE, 0);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, WTERMSIG(status));
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    _exit(128 + WTERMSIG(status));
}

/* Its parent has died, so that nobody learns how it ends. */
static void outlive(pid_t pid)
{
    sigset_t none;
    sigemptyset(&none);
    while (kill(pid, 0) == 0) {
        struct timespec moment = {0, 20 * 1000 * 1000};
        ppoll(NULL, 0, &moment, &none);
        relay_signals(pid);
    }
    end_like(SIGKILL);
}

static void follow(int connection, pid_t pid)
{
    sigset_t none;
    struct event event;
    sigemptyset(&none);
    for (;;) {
        struct pollfd ready = {.fd = connection, .events = POLLIN};
        int count = ppoll(&ready, 1, NULL, &none);
        relay_signals(pid);
        if (count <= 0)
            continue;
        if (!receive(connection, &event, -1))
            outlive(pid);
        if (event.type == ENDED)
            end_like(event.value);
        if (event.type == STOPPED)
            raise(SIGSTOP);
    }
}

int main(int argc, char **argv)
{
    struct request request = {0};
    sigset_t all;
    pid_t pid;
    /* On a terminal it matters which process group and session a process is in. */
    int is_interactive = isatty(0) || isatty(1) || isatty(2);
    arguments = argv;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    if (argc < 1 || is_interactive || !is_ours(argv[0]) || !variables_are_known(&request) ||
        !arguments_are_known(argc, &request) || !describe_process(&request))
        run_real();
    int connection = hand_over(argc, &request, &pid);
    if (connection < 0)
        run_real();
    catch_signals();
    follow(connection, pid);
}
