/* distill.c - learning from the teacher's soft answers (Hinton, Vinyals, Dean 2015).
 *
 *   q = softmax(teacher / T)   p = softmax(z / T)
 *   loss      a * T^2 * KL(q || p)   KL = sum over j of q[j] * (log q[j] - log p[j])
 *   d loss / d z[j] = a * T * (p[j] - q[j])
 *
 * Shapes:  logits z [n,k]   teacher [n,k]   gradient [n,k]
 * T^2 keeps the gradient's size when T changes. Logarithms come from the logits, never from a
 * probability that may have rounded to 0.
 */
#include "wattle/finetune.h"

#include <math.h>

/* log of the sum over j of exp(z[j] / T) */
static double log_sum_exp(int k, const float *z, double temperature)
{
    double largest = (double)z[0], sum = 0.0;
    for (int j = 1; j < k; j++) {
        largest = (double)z[j] > largest ? (double)z[j] : largest;
    }
    for (int j = 0; j < k; j++) {
        sum += exp(((double)z[j] - largest) / temperature);
    }
    return largest / temperature + log(sum);
}

/* One image; returns KL(q || p). */
static double image_distill(int k, const float *z, const float *teacher, double a,
                            double temperature, double scale, float *gradient)
{
    double lse_p = log_sum_exp(k, z, temperature);
    double lse_q = log_sum_exp(k, teacher, temperature), kl = 0.0;
    for (int j = 0; j < k; j++) {
        double log_p = (double)z[j] / temperature - lse_p;
        double log_q = (double)teacher[j] / temperature - lse_q;
        double p = exp(log_p), q = exp(log_q);
        kl += q * (log_q - log_p);
        gradient[j] = (float)((1.0 - a) * (double)gradient[j] + scale * (p - q));
    }
    return kl;
}

double wtl_distill(int n, int k, const float *logits, const float *teacher_logits, double a,
                   double temperature, float scale, float *gradient)
{
    const double slope = (double)scale * a * temperature;
    double kl = 0.0;
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)i * (size_t)k;
        kl += image_distill(k, logits + at, teacher_logits + at, a, temperature, slope,
                            gradient + at);
    }
    return a * temperature * temperature * kl;
}
