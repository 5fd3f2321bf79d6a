// Threads that run programs take turns: no more of them compute at once than there are processors (or threads wanted,
// if those are more), however many environments have programs in flight. In the order in which they asked.
#pragma once

namespace xcorr {

// Waits until the calling thread may compute.
void begin_turn();
void end_turn();

// Between two pieces of a turn: lets the next one have it, and waits for another, if somebody waits and the turn has
// been long enough to be worth what a change costs. Nothing on threads that have no turn.
void pass_turn();

// Whether threads that have a turn fill the processors, so that helpers would only take them from each other.
bool all_turns_taken();

// In a child after fork, where none of these threads is.
void forget_turns();

}  // namespace xcorr
