/* An adapter in C: q_marginal, 13.28. No JSON library; the requests have a fixed form, one a line.

       cc -o q_marginal examples/adapters/q_marginal.c -lm
       python -m refvdm.conformance run --command ./q_marginal */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1 << 20, MOST = 4096 };
static char line[LONGEST];

/* The flat data of the array called `name`, and its first two lengths; how many numbers. */
static int read_array(const char *name, double *data, int shape[2])
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\": {", name);
    char *at = strstr(line, key);
    if (!at) return -1;
    char *p = strstr(at, "\"shape\": [") + strlen("\"shape\": [");
    shape[0] = shape[1] = 1;
    for (int axis = 0; *p != ']' && axis < 2; axis++) {
        shape[axis] = (int)strtol(p, &p, 10);
        while (*p == ',' || *p == ' ') p++;
    }
    int n = 0;
    for (p = strstr(p, "\"data\": [") + strlen("\"data\": ["); *p != ']' && n < MOST; n++) {
        data[n] = strtod(p, &p);
        while (*p == ',' || *p == ' ') p++;
    }
    return n;
}

static void write_array(const char *name, const double *data, int n, const char *shape)
{
    printf("\"%s\": {\"dtype\": \"float64\", \"shape\": %s, \"data\": [", name, shape);
    for (int i = 0; i < n; i++) printf(i ? ", %.17g" : "%.17g", data[i]);
    printf("]}");
}

int main(void)
{
    static double x[MOST], betas[MOST], t[MOST], var[MOST];
    while (fgets(line, LONGEST, stdin)) {
        long id = strtol(strstr(line, "\"id\": ") + strlen("\"id\": "), NULL, 10);
        if (strstr(line, "\"operation\": \"hello\"")) {
            printf("{\"id\": %ld, \"operations\": [\"q_marginal\"]}\n", id);
        } else {
            int shape[2], other[2], n = read_array("x_0", x, shape);
            read_array("betas", betas, other);
            read_array("t", t, other);
            for (int i = 0; i < shape[0]; i++) {
                double alpha_bar = 1;
                for (int s = 0; s < (int)t[i]; s++) alpha_bar *= 1 - betas[s];
                for (int j = 0; j < shape[1]; j++) x[i * shape[1] + j] *= sqrt(alpha_bar);
                var[i] = 1 - alpha_bar;
            }
            char two[32], one[32];
            snprintf(two, sizeof two, "[%d, %d]", shape[0], shape[1]);
            snprintf(one, sizeof one, "[%d]", shape[0]);
            printf("{\"id\": %ld, \"outputs\": {", id);
            write_array("mean", x, n, two);
            printf(", ");
            write_array("var", var, shape[0], one);
            printf("}}\n");
        }
        fflush(stdout);
    }
    return 0;
}
