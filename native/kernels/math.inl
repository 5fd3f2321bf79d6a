// Elementary functions on vectors, from coefficients of our own minimax fits (Remez, 60 digits, rounded last).
//
// Every lane is computed alone by +, -, *, /, sqrt and explicit fma, so that targets with an fma give the same bits.
// Float64 is the accurate form, 1 to 2 units in the last place over the whole range; float32 has its own short forms
// where a network spends time (exp, log, tanh, sigmoid, erf) and else goes through float64 (unary.inl).
// Exact steps (Cody and Waite's reductions, products of split numbers) do not rely on fma, for the target without one.
#pragma once
#include "erf.inl"
#include "exponential.inl"
#include "pow.inl"
#include "trigonometry.inl"
#include "vector_basics.inl"
