/* engram-batch show: a result for people (aligned) or programs (--tsv). */
#ifndef ENGRAM_CLI_SHOW_H
#define ENGRAM_CLI_SHOW_H

/* argv[0] is the command's name. Returns the exit code; main checks and closes stdout. */
int engram_cli_show(int argc, char **argv);

#endif
