// Threads of the host that must answer soon (its event loops), and compute threads that get out of their way.
//
// The system gives a thread that wakes the processor at once only as long as it has used less of it than those it
// shares it with; an event loop that has just worked for a millisecond waits until the tick, 4 ms at 250 a second.
#pragma once

namespace xcorr {

// What the system says of the calling thread is to be read at; -1 where it does not say.
int open_state();
void close_state(int state);

// From begin_answering(state) to end_answering(state), both on the thread whose state it is, compute threads make way
// for it. Some threads at once; those too many are not looked after.
void begin_answering(int state);
void end_answering(int state);

// For compute threads, between tasks: if a thread that must answer waits for the processor that the calling one is on,
// sleeps until it is done with it, or moves away if that takes long. Looks at most every 100 us, at once with `now`.
void make_way(bool now);

}  // namespace xcorr
