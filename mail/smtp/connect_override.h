// Our connect(2): in a protocol thread it does not dial, it puts a socket of ours under the descriptor.
#pragma once

namespace mailotp::mail {

// The calling thread's next connect() gets `descriptor`, which it owns from then on. Linking this function
// links the override.
void give_to_next_connect(int descriptor);
// Whether it is still there: connect() was not called, or was not ours.
[[nodiscard]] bool connect_still_waits();
// Closes it if it is still there.
void forget_next_connect();

}  // namespace mailotp::mail
