/* distill.c - the dense net's answers as soft targets (Hinton, Vinyals, Dean 2015). */
#include "wattle/finetune.h"

#include <math.h>

/* log of the sum of exp(z[c] / T), and the largest logit. */
static double log_sum(int k, const float *z, double temperature, double *largest)
{
    double most = (double)z[0], sum = 0.0;
    for (int c = 1; c < k; c++) {
        most = (double)z[c] > most ? (double)z[c] : most;
    }
    for (int c = 0; c < k; c++) {
        sum += exp(((double)z[c] - most) / temperature);
    }
    *largest = most;
    return log(sum);
}

double wtl_distill(int n, int k, const float *logits, const float *teacher_logits, double a,
                   double temperature, float scale, float *gradient)
{
    double total = 0.0;
    for (int i = 0; i < n; i++) {
        const float *z = logits + (size_t)i * (size_t)k;
        const float *t = teacher_logits + (size_t)i * (size_t)k;
        float *g = gradient + (size_t)i * (size_t)k;
        double z_most, t_most;
        double z_log = log_sum(k, z, temperature, &z_most);
        double t_log = log_sum(k, t, temperature, &t_most);
        for (int c = 0; c < k; c++) {
            double log_p = ((double)z[c] - z_most) / temperature - z_log;
            double log_q = ((double)t[c] - t_most) / temperature - t_log;
            double q = exp(log_q);
            total += q * (log_q - log_p);
            g[c] = (float)((1.0 - a) * (double)g[c] +
                           (double)scale * a * temperature * (exp(log_p) - q));
        }
    }
    return a * temperature * temperature * total;
}
