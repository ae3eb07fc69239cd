/* Runs a program in a process that was forked from a preloaded interpreter, as `python3` itself
 * would: for Python 3.11.
 *
 * The zygote is an interpreter that has stopped in the middle of its own start. What is forked
 * from it goes on with that start, and finds here what to run instead of what the zygote was
 * started with. So nothing of the zygote is on the program's stack, and `__main__`, `sys.path[0]`,
 * tracebacks and exit statuses are made by the interpreter.
 *
 * What this adds is the end. An interpreter clears everything it has before it exits; of some
 * hundred megabytes that it shares with the zygote, this would only make copies. So the process
 * exits as soon as the program can see no more of it. */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "holder.h"
#include "pages.h"
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x030C0000
#error "written for the internals of Python 3.11"
#endif

static PyObject *kind;    /* "command", "file" or "stdin" */
static PyObject *program; /* its text or its name */
static PyObject *preloaded; /* name to module; never freed */
static PyObject *run_exit_functions;

static Py_ssize_t builtin_names; /* How many there were before the program. */
static int exit_status;
static int interrupted;
static int is_scout;

/* --- before the interpreter goes on --- */

static int set_wide(PyConfig *config, wchar_t **field, PyObject *text)
{
    wchar_t *wide = NULL;
    if (text != Py_None && (wide = PyUnicode_AsWideCharString(text, NULL)) == NULL)
        return -1;
    PyStatus status = PyConfig_SetString(config, field, wide);
    PyMem_Free(wide);
    if (PyStatus_Exception(status)) {
        PyErr_SetString(PyExc_MemoryError, "configuration");
        return -1;
    }
    return 0;
}

static int set_argv(PyConfig *config, PyObject *argv)
{
    Py_ssize_t count = PyList_GET_SIZE(argv), made = 0;
    wchar_t **items = PyMem_Calloc((size_t)count + 1, sizeof *items);
    int result = -1;
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (; made < count; made++)
        if ((items[made] = PyUnicode_AsWideCharString(PyList_GET_ITEM(argv, made), NULL)) == NULL)
            goto done;
    if (PyStatus_Exception(PyConfig_SetWideStringList(config, &config->argv, count, items)))
        PyErr_NoMemory();
    else
        result = 0;
done:
    while (made--)
        PyMem_Free(items[made]);
    PyMem_Free(items);
    return result;
}

/* configure(name, kind, program, argv, unbuffered): what the interpreter, called by that name,
 * shall run when it goes on. "module" and "importable" (a directory or archive with a __main__) it
 * runs all by itself. For anything else it asks `runpy` to run a module, and finds this one. */
static PyObject *configure(PyObject *self, PyObject *args)
{
    PyObject *name, *new_kind, *new_program, *argv;
    int unbuffered;
    if (!PyArg_ParseTuple(
            args, "UUUO!p", &name, &new_kind, &new_program, &PyList_Type, &argv, &unbuffered))
        return NULL;
    PyConfig *config = (PyConfig *)_PyInterpreterState_GetConfig(PyInterpreterState_Get());
    if (set_argv(config, argv) < 0 || set_wide(config, &config->program_name, name) < 0 ||
        set_wide(config, &config->run_command, Py_None) < 0)
        return NULL;
    if (unbuffered) {
        config->buffered_stdio = 0;
        setvbuf(stdin, NULL, _IONBF, BUFSIZ);
        setvbuf(stdout, NULL, _IONBF, BUFSIZ);
        setvbuf(stderr, NULL, _IONBF, BUFSIZ);
    }
    if (PyUnicode_CompareWithASCIIString(new_kind, "module") == 0) {
        if (set_wide(config, &config->run_module, new_program) < 0)
            return NULL;
    } else if (PyUnicode_CompareWithASCIIString(new_kind, "importable") == 0) {
        if (set_wide(config, &config->run_filename, new_program) < 0)
            return NULL;
    } else {
        if (PyDict_SetItemString(PyImport_GetModuleDict(), "runpy", self) < 0 ||
            set_wide(config, &config->run_module, new_kind) < 0)
            return NULL;
        Py_XSETREF(kind, Py_NewRef(new_kind));
        Py_XSETREF(program, Py_NewRef(new_program));
    }
    Py_RETURN_NONE;
}

/* keep(modules, others): what of the modules by these names is preloaded, and stays as it is when
 * the process ends; the others are never freed either. */
static PyObject *keep(PyObject *self, PyObject *args)
{
    PyObject *modules, *others;
    if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &modules, &others))
        return NULL;
    Py_INCREF(others);
    Py_XSETREF(preloaded, Py_NewRef(modules));
    Py_RETURN_NONE;
}

/* --- what other processes see --- */

static pid_t program_process; /* Forked ones of its own have it as their parent. */
static pid_t client_process;

/* The image's `python3` is the program's process for everybody else, so its parent is meant; of a
 * run's own program that would be init. */
static PyObject *getppid_(PyObject *self, PyObject *unused)
{
    char path[32], text[512];
    long parent = 1;
    if (getpid() != program_process)
        return PyLong_FromLong(getppid());
    if (client_process) {
        snprintf(path, sizeof path, "/proc/%ld/stat", (long)client_process);
        FILE *file = fopen(path, "re");
        size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
        text[size] = 0;
        if (file)
            fclose(file);
        char *name_end = strrchr(text, ')');
        if (name_end)
            sscanf(name_end, ") %*c %ld", &parent);
    }
    return PyLong_FromLong(parent);
}

static PyMethodDef getppid_method = {
    "getppid", getppid_, METH_NOARGS,
    "getppid($module, /)\n--\n\n"
    "Return the parent's process id.\n\n"
    "If the parent process has already exited, Windows machines will still\n"
    "return its id; others systems will return the id of the 'init' process (1)."};

/* stand_in_for(client): this process is a program now, the client's if that is not 0. */
static PyObject *stand_in_for(PyObject *self, PyObject *client)
{
    static const char *const names[] = {"posix", "os"};
    client_process = (pid_t)PyLong_AsLong(client);
    program_process = getpid();
    if (PyErr_Occurred())
        return NULL;
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *name = PyUnicode_FromString("posix");
    PyObject *function = posix && name ? PyCFunction_NewEx(&getppid_method, posix, name) : NULL;
    for (int index = 0; function && index < 2; index++) {
        PyObject *module = PyImport_ImportModule(names[index]);
        if (module == NULL || PyObject_SetAttrString(module, "getppid", function) < 0)
            Py_CLEAR(function);
        Py_XDECREF(module);
    }
    Py_XDECREF(posix);
    Py_XDECREF(name);
    if (function == NULL)
        return NULL;
    Py_DECREF(function);
    Py_RETURN_NONE;
}

static int read_map(struct prctl_mm_map *map)
{
    unsigned long long code[3], data[3];
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[size] = 0;
    if (file)
        fclose(file);
    char *field = strrchr(text, ')');
    /* From the third field on, up to those that are wanted: 26 to 28, and 45 to 47. */
    for (int number = 2; field && number < 26; number++)
        field = strchr(field + 1, ' ');
    if (!field || sscanf(field, " %llu %llu %llu", &code[0], &code[1], &code[2]) != 3)
        return -1;
    for (int number = 26; field && number < 45; number++)
        field = strchr(field + 1, ' ');
    if (!field || sscanf(field, " %llu %llu %llu", &data[0], &data[1], &data[2]) != 3)
        return -1;
    *map = (struct prctl_mm_map){
        .start_code = code[0],
        .end_code = code[1],
        .start_stack = code[2],
        .start_data = data[0],
        .end_data = data[1],
        .start_brk = data[2],
        .brk = (unsigned long)sbrk(0),
        .exe_fd = (uint32_t)-1,
    };
    return 0;
}

/* show(arguments, variables): what /proc tells of this process, as far as the kernel lets us. */
static PyObject *show(PyObject *self, PyObject *args)
{
    const char *arguments, *variables;
    Py_ssize_t arguments_size, variables_size;
    struct prctl_mm_map map;
    if (!PyArg_ParseTuple(
            args, "y#y#", &arguments, &arguments_size, &variables, &variables_size))
        return NULL;
    /* Never freed: the kernel looks at it for as long as the process lives. */
    char *shown = malloc((size_t)(arguments_size + variables_size) + 1);
    if (shown == NULL)
        return PyErr_NoMemory();
    memcpy(shown, arguments, (size_t)arguments_size);
    memcpy(shown + arguments_size, variables, (size_t)variables_size);
    if (read_map(&map) == 0) {
        map.arg_start = (unsigned long)shown;
        map.arg_end = map.env_start = map.arg_start + (unsigned long)arguments_size;
        map.env_end = map.env_start + (unsigned long)variables_size;
        prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
    }
    Py_RETURN_NONE;
}

/* --- the scout --- */

/* scout(): at its end this process says on stderr which pages it has touched. */
static PyObject *scout(PyObject *self, PyObject *unused)
{
    is_scout = 1;
    Py_RETURN_NONE;
}

/* populate(pages, descriptor): have ready what a scout has touched, until the descriptor can be
 * read. */
static PyObject *populate(PyObject *self, PyObject *args)
{
    const char *ranges;
    Py_ssize_t size;
    int descriptor;
    if (!PyArg_ParseTuple(args, "y#i", &ranges, &size, &descriptor))
        return NULL;
    populate_pages(ranges, (size_t)size, descriptor);
    Py_RETURN_NONE;
}

/* --- the holder --- */

/* hold(parent): see holder.h. */
static PyObject *hold(PyObject *self, PyObject *parent)
{
    long pid = PyLong_AsLong(parent);
    if (pid == -1 && PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(hold_memory((pid_t)pid));
}

/* --- the end --- */

static void leave(void)
{
    fflush(NULL);
    if (is_scout)
        report_pages(STDERR_FILENO);
    if (interrupted) {
        signal(SIGINT, SIG_DFL);
        kill(getpid(), SIGINT);
    }
    _exit(exit_status);
}

static void modules_are_gone(PyObject *capsule)
{
    leave();
}

/* What `sys` holds is the last thing that the interpreter clears of what a program can see, unless
 * that has made itself at home among the built-in names; and the newest of it is the last. */
static void exit_once_modules_are_gone(void)
{
    PyObject *builtins = PyImport_AddModule("builtins");
    if (builtins == NULL || PyDict_GET_SIZE(PyModule_GetDict(builtins)) != builtin_names)
        return;
    PyObject *last = PyCapsule_New(&exit_status, NULL, modules_are_gone);
    if (last == NULL || PySys_SetObject("~", last) < 0)
        PyErr_Clear();
    Py_XDECREF(last);
}

static void flush_attribute(const char *name, int *failed)
{
    PyObject *file = PySys_GetObject(name);
    if (file == NULL || file == Py_None)
        return;
    Py_INCREF(file);
    PyObject *closed = PyObject_GetAttrString(file, "closed");
    int is_closed = closed ? PyObject_IsTrue(closed) : -1;
    Py_XDECREF(closed);
    if (is_closed < 0)
        PyErr_Clear();
    if (is_closed <= 0) {
        PyObject *done = PyObject_CallMethod(file, "flush", NULL);
        if (done == NULL) {
            PyErr_Clear();
            *failed = 1;
        }
        Py_XDECREF(done);
    }
    Py_DECREF(file);
}

static void wait_for_threads(void)
{
    PyObject *name = PyUnicode_FromString("threading");
    PyObject *threading = name ? PyImport_GetModule(name) : NULL;
    Py_XDECREF(name);
    if (threading == NULL) {
        PyErr_Clear();
        return;
    }
    PyObject *done = PyObject_CallMethod(threading, "_shutdown", NULL);
    if (done == NULL)
        PyErr_WriteUnraisable(threading);
    Py_XDECREF(done);
    Py_DECREF(threading);
}

/* Otherwise their contents would be cleared one by one. */
static void forget_preloaded(void)
{
    PyObject *modules = PyImport_GetModuleDict(), *name, *module;
    Py_ssize_t position = 0;
    while (preloaded && PyDict_Next(preloaded, &position, &name, &module))
        if (PyDict_GetItemWithError(modules, name) == module)
            PyDict_DelItem(modules, name);
    PyErr_Clear();
}

static void finish(int status)
{
    int failed = 0;
    exit_status = status & 0xff;
    wait_for_threads();
    if (Py_MakePendingCalls() < 0)
        PyErr_WriteUnraisable(NULL);
    PyObject *done = PyObject_CallNoArgs(run_exit_functions);
    if (done == NULL)
        PyErr_WriteUnraisable(run_exit_functions);
    Py_XDECREF(done);
    flush_attribute("stderr", &failed);
    flush_attribute("stdout", &failed);
    /* Output that is lost has an exit status of its own, which the interpreter sees to. */
    if (!failed) {
        forget_preloaded();
        exit_once_modules_are_gone();
    }
    if (Py_FinalizeEx() < 0)
        exit_status = 120;
    if (!interrupted)
        exit(exit_status);
    leave();
}

/* --- the program --- */

/* As the interpreter does, which would then exit by itself. */
static int exit_code_of(PyObject *value)
{
    if (value == NULL || value == Py_None)
        return 0;
    if (PyExceptionInstance_Check(value)) {
        PyObject *code = PyObject_GetAttrString(value, "code");
        if (code) {
            value = code;
            if (value == Py_None)
                return 0;
        }
    }
    if (PyLong_Check(value)) {
        int code = (int)PyLong_AsLong(value);
        PyErr_Clear();
        return code;
    }
    PyErr_Clear();
    PyObject *file = PySys_GetObject("stderr");
    if (file != NULL && file != Py_None) {
        if (PyFile_WriteObject(value, file, Py_PRINT_RAW) < 0)
            PyErr_Clear();
    } else {
        PyObject_Print(value, stderr, Py_PRINT_RAW);
        fflush(stderr);
    }
    PySys_WriteStderr("\n");
    return 1;
}

static int conclude(void)
{
    if (!PyErr_ExceptionMatches(PyExc_SystemExit)) {
        interrupted = PyErr_Occurred() == PyExc_KeyboardInterrupt;
        PyErr_Print();
        return 1;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    fflush(stdout);
    int code = exit_code_of(value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    finish(code);
    return code;
}

static int run_command(PyObject *globals)
{
    PyCompilerFlags flags = _PyCompilerFlags_INIT;
    flags.cf_flags |= PyCF_IGNORE_COOKIE;
    if (PySys_Audit("cpython.run_command", "O", program) < 0)
        return conclude();
    /* What UTF-8 cannot carry was never let in here. */
    const char *text = PyUnicode_AsUTF8(program);
    PyObject *result = text ? PyRun_StringFlags(text, Py_file_input, globals, globals, &flags) : NULL;
    if (result == NULL)
        return conclude();
    Py_DECREF(result);
    return 0;
}

static void set_loader(PyObject *globals, PyObject *name)
{
    PyObject *external = PyImport_ImportModule("_frozen_importlib_external");
    PyObject *loader =
        external ? PyObject_CallMethod(external, "SourceFileLoader", "sO", "__main__", name) : NULL;
    if (loader == NULL || PyDict_SetItemString(globals, "__loader__", loader) < 0)
        PyErr_Clear();
    Py_XDECREF(loader);
    Py_XDECREF(external);
}

static int run_file(PyObject *globals, FILE *file, PyObject *name, int is_stdin)
{
    PyCompilerFlags flags = _PyCompilerFlags_INIT;
    int status = 0;
    PyObject *encoded = PyUnicode_EncodeFSDefault(name);
    if (encoded == NULL)
        return conclude();
    PyDict_SetItemString(globals, "__file__", name);
    PyDict_SetItemString(globals, "__cached__", Py_None);
    if (!is_stdin)
        set_loader(globals, name);
    PyObject *result = PyRun_FileExFlags(
        file, PyBytes_AS_STRING(encoded), Py_file_input, globals, globals, !is_stdin, &flags);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    flush_attribute("stderr", &(int){0});
    flush_attribute("stdout", &(int){0});
    PyErr_Restore(type, value, traceback);
    if (result == NULL)
        status = conclude();
    Py_XDECREF(result);
    Py_DECREF(encoded);
    if (PyDict_DelItemString(globals, "__file__") < 0)
        PyErr_Clear();
    if (PyDict_DelItemString(globals, "__cached__") < 0)
        PyErr_Clear();
    return status;
}

static int run_named_file(PyObject *globals)
{
    if (PySys_Audit("cpython.run_file", "O", program) < 0)
        return conclude();
    /* Looked for and not found: it is no directory or archive. The search leaves its trace. */
    PyObject *importer = PyImport_GetImporter(program);
    if (importer == NULL)
        PyErr_Clear();
    Py_XDECREF(importer);
    FILE *file = _Py_fopen_obj(program, "rb");
    if (file == NULL)
        return conclude();
    if (Py_MakePendingCalls() < 0)
        return conclude();
    return run_file(globals, file, program, 0);
}

static int run_stdin(PyObject *globals)
{
    if (PySys_Audit("cpython.run_stdin", NULL) < 0)
        return conclude();
    if (Py_MakePendingCalls() < 0)
        return conclude();
    PyObject *name = PyUnicode_FromString("<stdin>");
    if (name == NULL)
        return conclude();
    int status = run_file(globals, stdin, name, 1);
    Py_DECREF(name);
    return status;
}

/* runpy's function of this name, for the interpreter. There is no frame below it. */
static PyObject *run_module_as_main(PyObject *self, PyObject *args)
{
    PyObject *main = PyImport_AddModule("__main__");
    if (main == NULL || kind == NULL)
        return NULL;
    if (PyDict_DelItemString(PyImport_GetModuleDict(), "runpy") < 0)
        PyErr_Clear();
    /* The interpreter's own call of a program does not count as one. */
    PyThreadState_Get()->recursion_remaining++;
    PyObject *builtins = PyImport_AddModule("builtins");
    if (builtins)
        builtin_names = PyDict_GET_SIZE(PyModule_GetDict(builtins));
    PyObject *context = PyContext_New();
    if (context == NULL || PyContext_Enter(context) < 0)
        PyErr_Clear();
    PyObject *globals = PyModule_GetDict(main);
    int status;
    if (PyUnicode_CompareWithASCIIString(kind, "command") == 0)
        status = run_command(globals);
    else if (PyUnicode_CompareWithASCIIString(kind, "file") == 0)
        status = run_named_file(globals);
    else
        status = run_stdin(globals);
    finish(status);
    return NULL;
}

static PyMethodDef methods[] = {
    {"configure", configure, METH_VARARGS, NULL},
    {"hold", hold, METH_O, NULL},
    {"keep", keep, METH_VARARGS, NULL},
    {"populate", populate, METH_VARARGS, NULL},
    {"_run_module_as_main", run_module_as_main, METH_VARARGS, NULL},
    {"scout", scout, METH_NOARGS, NULL},
    {"show", show, METH_VARARGS, NULL},
    {"stand_in_for", stand_in_for, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_launch", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__launch(void)
{
    PyObject *atexit = PyImport_ImportModule("atexit");
    if (atexit == NULL)
        return NULL;
    run_exit_functions = PyObject_GetAttrString(atexit, "_run_exitfuncs");
    Py_DECREF(atexit);
    if (run_exit_functions == NULL)
        return NULL;
    return PyModule_Create(&definition);
}
