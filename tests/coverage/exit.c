/* Linked into what is built for coverage, with -Wl,--wrap=_exit: a process that leaves by _exit
 * (the handlers of crashes do, and children of tests) writes down what it ran, too. */
void __gcov_dump(void);
_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);

_Noreturn void __wrap__exit(int code)
{
    __gcov_dump();
    __real__exit(code);
}
