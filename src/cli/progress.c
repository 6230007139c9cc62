#define _GNU_SOURCE

#include "cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Jobs this short show nothing. */
static const double QUIET_SECONDS = 0.5;

/* Lines: at each tenth of a stage, but not sooner than this after the last one. A log of ten hours
 * then has at most 3 x 10 lines of this kind ... */
static const double AUTO_LINE_SECONDS = 30;
/* ... (when lines were asked for, a shorter wait) ... */
static const double LINE_SECONDS = 2;
/* ... and 40 of those that only tell that the job is alive. */
static const double ALIVE_SECONDS = 900;

/* Narrower terminals get no bar but a percentage. */
enum { BAR_COLUMNS_MIN = 60, BAR_LENGTH_MAX = 40, TERMINAL_COLUMNS_MAX = 200 };

static const char *const STAGES[] = {
    [ENGRAM_STAGE_READ] = "reading",
    [ENGRAM_STAGE_SEARCH] = "searching",
    [ENGRAM_STAGE_WRITE] = "writing",
};

static double monotonic_seconds(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void engram_cli_progress_init(struct engram_cli_progress *progress,
                              enum engram_cli_progress_mode mode,
                              struct engram_cli_messages *messages)
{
    double now = monotonic_seconds();

    memset(progress, 0, sizeof *progress);
    progress->messages = messages;
    progress->mode = mode;
    progress->line_interval = LINE_SECONDS;
    progress->stage_start = now;
    progress->last_output = now;
    if (messages->verbosity < 0) {
        progress->mode = ENGRAM_CLI_PROGRESS_NONE;
    } else if (mode == ENGRAM_CLI_PROGRESS_AUTO) {
        const char *terminal = getenv("TERM");
        bool can_clear_lines = isatty(STDERR_FILENO) && terminal != NULL && terminal[0] != '\0' &&
                               strcmp(terminal, "dumb") != 0;
        progress->mode = can_clear_lines ? ENGRAM_CLI_PROGRESS_BAR : ENGRAM_CLI_PROGRESS_LINES;
        progress->line_interval = AUTO_LINE_SECONDS;
    }
}

void engram_cli_format_rate(char text[16], double value)
{
    static const char *const PREFIXES[] = {"", "k", "M", "G", "T", "P", "E"};
    size_t prefix = 0;

    /* 999.5 would be printed as 1000. */
    while (value >= 999.5 && prefix + 1 < sizeof PREFIXES / sizeof PREFIXES[0]) {
        value /= 1000;
        prefix++;
    }
    int decimals = prefix == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(text, 16, "%.*f %s", decimals, value, PREFIXES[prefix]);
}

/* "0:42", "12:03", "3:07:42", "4 days" */
static void format_duration(char text[24], double seconds)
{
    unsigned long whole = seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 1000000000ul;

    if (whole >= 259200) { /* three days */
        snprintf(text, 24, "%lu days", whole / 86400);
    } else if (whole >= 3600) {
        snprintf(text, 24, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        snprintf(text, 24, "%lu:%02lu", whole / 60, whole % 60);
    }
}

/* "1.23 Gpairs/s, 0:42 left"; empty before anything is done. */
static void format_pace(const struct engram_cli_progress *progress, double now, uint64_t done,
                        uint64_t total, char text[64])
{
    double elapsed = now - progress->stage_start;
    char rate[16];
    char left[24];

    text[0] = '\0';
    if (done == 0 || elapsed <= 0) {
        return;
    }
    engram_cli_format_rate(rate, (double)done / elapsed);
    format_duration(left, elapsed * ((double)(total - done) / (double)done));
    snprintf(text, 64, "%s%s/s, %s left", rate,
             progress->stage == ENGRAM_STAGE_SEARCH ? "pairs" : "rows", left);
}

/* Columns of the terminal that stderr is; 80 when it does not tell. */
static int terminal_columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        return 80;
    }
    return size.ws_col < TERMINAL_COLUMNS_MAX ? size.ws_col : TERMINAL_COLUMNS_MAX;
}

/* A job in the background of an interactive shell must not write over its prompt. */
static bool in_background(void)
{
    pid_t foreground = tcgetpgrp(STDERR_FILENO);
    return foreground > 0 && foreground != getpgrp();
}

static void draw_bar(struct engram_cli_progress *progress, double fraction, const char *pace)
{
    char line[16 + 4 * TERMINAL_COLUMNS_MAX];
    char bar[BAR_LENGTH_MAX + 1] = "";
    int columns = terminal_columns();

    if (in_background()) {
        return;
    }
    if (columns >= BAR_COLUMNS_MIN) {
        /* 9 of the stage's name, 7 of the percentage, 28 of the pace, blanks and brackets. */
        int length = columns - 49 < BAR_LENGTH_MAX ? columns - 49 : BAR_LENGTH_MAX;
        int filled = (int)(fraction * length);
        memset(bar, ' ', (size_t)length);
        memset(bar, '=', (size_t)filled);
        if (filled > 0 && filled < length) {
            bar[filled - 1] = '>';
        }
        bar[length] = '\0';
    }
    char text[TERMINAL_COLUMNS_MAX];
    snprintf(text, sizeof text, "%-9s %3d %% %s%s%s %s", STAGES[progress->stage],
             (int)(100 * fraction), bar[0] != '\0' ? "[" : "", bar, bar[0] != '\0' ? "]" : "",
             pace);
    /* One column stays free: some terminals wrap as soon as the last one is written. */
    int length = snprintf(line, sizeof line, "\r%.*s\033[K", columns - 1, text);
    if (length > 0) {
        engram_cli_write_stderr(line, (size_t)length);
        progress->messages->bar_drawn = true;
    }
}

static void print_line(struct engram_cli_progress *progress, double fraction, const char *pace)
{
    char line[160];

    snprintf(line, sizeof line, "%s: %d %%%s%s", STAGES[progress->stage], (int)(100 * fraction),
             pace[0] != '\0' ? ", " : "", pace);
    engram_cli_say(progress->messages, line);
}

void engram_cli_progress(void *context, enum engram_job_stage stage, uint64_t done, uint64_t total)
{
    struct engram_cli_progress *progress = context;
    double now = monotonic_seconds();
    char pace[64];

    if (progress->mode == ENGRAM_CLI_PROGRESS_NONE || (unsigned)stage > ENGRAM_STAGE_WRITE ||
        total == 0) {
        return;
    }
    done = done < total ? done : total;
    if (!progress->started || stage != progress->stage) {
        progress->started = true;
        progress->stage = stage;
        progress->stage_start = now;
        progress->last_step = 0;
    }
    double fraction = (double)done / (double)total;
    format_pace(progress, now, done, total, pace);
    if (progress->mode == ENGRAM_CLI_PROGRESS_BAR) {
        if (now - progress->last_output >= QUIET_SECONDS || progress->messages->bar_drawn) {
            draw_bar(progress, fraction, pace);
        }
        return;
    }
    int step = (int)(10 * fraction);
    double waited = now - progress->last_output;
    if ((step > progress->last_step && waited >= progress->line_interval) ||
        waited >= ALIVE_SECONDS) {
        print_line(progress, fraction, pace);
        progress->last_output = now;
        progress->last_step = step;
    }
}
