#ifndef MACHINE_H
#define MACHINE_H

// Processes, processors and clocks for the measurement. What fails ends the program with a message.

#include <stdint.h>
#include <sys/types.h>

/// The processors that this process may run on, from 0 on in their order; -1 past the last one.
int machine_processor(int place);

/// Keeps this process, and every thread it begins from now on, on one processor.
void machine_pin(int processor);

/// Two ends of a TCP connection over loopback, with the options that remusd sets; the first one is to send.
void machine_connect(int ends[2]);

/// Two ends of a local connection for orders and answers; the first waits a minute at most for anything.
void machine_control(int ends[2]);

/// Starts this very program with other arguments, the last of them NULL, and two descriptors of ours as 3 and 4. `variable`, if not
/// NULL, is NAME=value for its environment. It ends when we do.
pid_t machine_start(char *const arguments[], const char *variable, int third, int fourth);

/// Nanoseconds on a clock that only goes forward.
uint64_t machine_now(void);

/// Nanoseconds that all threads of a running process have spent on processors.
uint64_t machine_spent(pid_t process);

#endif
