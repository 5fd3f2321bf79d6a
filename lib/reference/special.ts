/** The error function and its complement in float64. */

const twoOverRootPi = 2 / Math.sqrt(Math.PI);
const oneOverRootPi = 1 / Math.sqrt(Math.PI);
/** From here on erfc is computed as a continued fraction, below as 1 - erf. */
const far = 2;

/**
 * erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1 3 5 ... (2n+1)): all terms have one sign, so nothing cancels.
 * Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6.
 */
function erfSeries(x: number): number {
  const square = x * x;
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * square) / (2 * n + 1);
    sum += term;
  }
  return twoOverRootPi * Math.exp(-square) * sum;
}

/**
 * erfc(x) = exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...)))), x >= `far`, from the inside out.
 * Abramowitz and Stegun 7.1.14; 60 levels are enough for float64 from x = 2 on.
 */
function erfcFraction(x: number): number {
  let denominator = x;
  for (let level = 60; level > 0; level--) denominator = x + level / 2 / denominator;
  return (oneOverRootPi * Math.exp(-x * x)) / denominator;
}

export function erf(x: number): number {
  if (Math.abs(x) < far) return erfSeries(x);
  if (x > 6) return 1;
  if (x < -6) return -1;
  return x > 0 ? 1 - erfcFraction(x) : x < 0 ? erfcFraction(-x) - 1 : Number.NaN;
}

/** 1 - erf(x), with small relative error also where erf(x) is next to 1. */
export function erfc(x: number): number {
  if (x >= far) return x === Number.POSITIVE_INFINITY ? 0 : erfcFraction(x);
  return x <= -far ? 1 + erf(-x) : 1 - erfSeries(x);
}
