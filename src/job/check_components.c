#include "job/check_components.h"

#include <math.h>
#include <stdlib.h>

#include "base/log.h"

enum engram_status engram_component_check_make(struct engram_result *result, int64_t rows,
                                               const struct engram_log *log,
                                               struct engram_component_check *groups)
{
    *groups = (struct engram_component_check){.rows = rows};
    groups->possible = malloc(((size_t)rows + 1) * sizeof *groups->possible);
    if (groups->possible == NULL) {
        return engram_fail(log, ENGRAM_ERR_RESOURCE, "not enough memory to verify");
    }
    for (int64_t r = 0; r < rows; r++) {
        groups->possible[r] = r;
    }
    return engram_result_components(result, &groups->component, &groups->keep);
}

void engram_component_check_free(struct engram_component_check *groups)
{
    free(groups->component);
    free(groups->keep);
    free(groups->possible);
    *groups = (struct engram_component_check){0};
}

static int64_t root_of(int64_t *forest, int64_t row)
{
    while (forest[row] != row) {
        forest[row] = forest[forest[row]];
        row = forest[row];
    }
    return row;
}

static bool is_allowed(const struct engram_check *check, int64_t row)
{
    return check->allowed == NULL || (check->allowed[row / 8] & 1U << row % 8) != 0;
}

struct engram_finding engram_check_component(const struct engram_check *check,
                                             struct engram_component_check *groups,
                                             const struct engram_check_room *room, int64_t q,
                                             int64_t eligible)
{
    struct engram_finding finding = {0};
    const int64_t *component = groups->component;
    int64_t stands = component[q] - check->base_first;
    bool alone = stands == q;
    bool reached = alone;
    bool wrong = (groups->keep[q] != 0) != alone || component[stands] != component[q];

    if (eligible < 0 || !is_allowed(check, q)) {
        finding.errors = wrong || !alone;
        return finding;
    }
    for (int64_t r = 0; r < groups->rows; r++) {
        if (isnan(room->keys[r])) {
            continue;
        }
        int within = engram_check_within(&check->info, room->keys[r], 2 * room->errors[r]);
        if (within == 0) {
            continue;
        }
        finding.answers += within == 1;
        wrong = wrong || (within == 1 && component[r] != component[q]);
        reached = reached || component[r] == component[q];
        groups->possible[root_of(groups->possible, r)] = root_of(groups->possible, q);
    }
    finding.errors = wrong || !reached;
    return finding;
}

int64_t engram_check_connected(const struct engram_check *check,
                               struct engram_component_check *groups, int64_t *first)
{
    int64_t apart = 0;
    for (int64_t q = groups->rows - 1; q >= 0; q--) {
        int64_t stands = groups->component[q] - check->base_first;
        if (root_of(groups->possible, q) != root_of(groups->possible, stands)) {
            apart++;
            *first = q;
        }
    }
    return apart;
}
