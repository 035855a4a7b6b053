/* For measuring only: CPython in a thread of Node, with Wraith's engine in it.
 *
 * cc -O2 -shared -fPIC -I/usr/include/node -o build/embedded.node embedded.c -ldl -lpthread
 */
#define NAPI_VERSION 8
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <node_api.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <wchar.h>

static void *python;
static char source[8192];

static void *run(void *unused) {
    (void)unused;
    void (*initialize)(int) = (void (*)(int))dlsym(python, "Py_InitializeEx");
    int (*run_string)(const char *) = (int (*)(const char *))dlsym(python, "PyRun_SimpleString");
    initialize(0);
    run_string(source);
    return NULL;
}

/* start(libpython, program, source with %d for a descriptor) -> the other end of the descriptor */
static napi_value start(napi_env env, napi_callback_info info) {
    size_t count = 3, size;
    napi_value arguments[3], result;
    char library[1024], program[1024], text[4096];
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
    napi_get_value_string_utf8(env, arguments[0], library, sizeof library, &size);
    napi_get_value_string_utf8(env, arguments[1], program, sizeof program, &size);
    napi_get_value_string_utf8(env, arguments[2], text, sizeof text, &size);
    /* DEEPBIND: Node brings an OpenSSL of its own, and Python's modules must not find that one. */
    python = dlopen(library, RTLD_NOW | RTLD_GLOBAL | RTLD_DEEPBIND);
    if (python == NULL) {
        napi_throw_error(env, NULL, dlerror());
        return NULL;
    }
    void (*set_name)(const wchar_t *) = (void (*)(const wchar_t *))dlsym(python, "Py_SetProgramName");
    wchar_t *(*decode)(const char *, size_t *) =
        (wchar_t * (*)(const char *, size_t *)) dlsym(python, "Py_DecodeLocale");
    set_name(decode(program, NULL)); /* so that it finds the virtual environment */
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    snprintf(source, sizeof source, text, pair[1]);
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 8 << 20);
    pthread_create(&thread, &attributes, run, NULL);
    pthread_detach(thread);
    napi_create_int32(env, pair[0], &result);
    return result;
}

NAPI_MODULE_INIT() {
    napi_value function;
    napi_create_function(env, "start", NAPI_AUTO_LENGTH, start, NULL, &function);
    napi_set_named_property(env, exports, "start", function);
    return exports;
}
