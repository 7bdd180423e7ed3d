// A relay on the network: DNS, TCP, TLS and AUTH by our own transport on the agent's loop, the transactions
// by libesmtp, whose every byte passes through that transport.
#pragma once

#include <memory>

#include <uv.h>

#include "core/delivery.h"
#include "mail/smtp/deadlines.h"
#include "mail/smtp/relay.h"

namespace mailotp::mail {

// `loop` and `sink` outlive the relay; the loop must run once more after the relay is destroyed, to close its
// handles. SIGPIPE must be ignored in this process. The first relay is to be made before any job runs: it
// proves that libesmtp has no socket but ours, and aborts the process when it does not.
//
// An address, envelope or content that SMTP cannot carry (controls, bare CR or LF, no header end) is
// JobNotSent with Stage::local. A relay with TlsMode::none is used on loopback addresses only.
[[nodiscard]] std::unique_ptr<Relay> make_network_relay(core::RelaySettings settings,
                                                        const core::Hello& hello, uv_loop_t* loop,
                                                        FactSink& sink, const Deadlines& deadlines);

}  // namespace mailotp::mail
