// A request of an app that changes something, on its way to the store and back, with its Idempotency-Key.
// Loop thread, but for what is said of `answered`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "core/config.h"
#include "core/store.h"
#include "daemon/api/services.h"
#include "daemon/http/message.h"
#include "daemon/http/server.h"

namespace mailotp::daemon {

class Asked {
 public:
  // Absent, after an answer was given: the peer is no app, or the Idempotency-Key is none.
  [[nodiscard]] static std::optional<Asked> take(Services& services, const HttpRequest& request,
                                                 Responder responder);

  [[nodiscard]] const std::string& request_id() const { return state_->request_id; }
  // Whose request it is.
  [[nodiscard]] const core::AppConfig& app() const { return state_->app; }
  // What it is answered by.
  [[nodiscard]] const core::Config& config() const { return state_->configured->config; }
  [[nodiscard]] const core::Composer& composer() const { return *state_->configured->composer; }

  // Whom, or which challenge, it is about: a refusal is noted there (refusal_notes.h).
  void is_about(const core::Address& recipient, const std::string& purpose) const;
  void is_about(const core::Id& challenge) const;

  // The request asks for nothing that can be done. It may have been done all the same, when the configuration
  // or the time was another one: then it is told again what it was told.
  void refuse(HttpResponse refusal) const { refuse_with(std::move(refusal), {}); }
  void refuse(const core::Refusal& refusal) const;

  // Has the store do it; `answered` makes the response from a successful answer of type A. Pure: it is also
  // called on the store's thread, to keep the response for a repeat.
  template <class A, class Command, class F>
  void submit(Command command, F answered) const {
    if (state_->key) {
      command.once = once([answered](const core::Answer& answer) {
        const auto* right = std::get_if<A>(&answer);
        return right == nullptr ? HttpResponse{} : answered(*right);
      });
    }
    send(std::move(command), [asked = *this, answered](const core::Outcome& outcome) {
      if (asked.answer_common(outcome)) return;
      const auto* answer = std::get_if<A>(&*outcome);
      if (answer == nullptr) return asked.answer_bug();
      asked.respond(answered(*answer));
    });
  }

 private:
  struct State {
    Services& services;
    Responder responder;
    std::string request_id;
    std::shared_ptr<const Configured> configured;  // shared with all requests of its time
    const core::AppConfig& app;                    // in it, or everybody
    std::optional<std::string> key;
    core::Secret request;     // with a key only
    core::NoteRefusal about;  // but for why
  };
  explicit Asked(std::shared_ptr<State> state) : state_(std::move(state)) {}

  void respond(HttpResponse response) const { state_->responder.respond(std::move(response)); }
  [[nodiscard]] core::Once once(std::function<HttpResponse(const core::Answer&)> answered) const;
  void send(core::Command command, StoreThread::Completion done) const;
  // True: the outcome was an error, a refusal, or what an earlier request was told.
  [[nodiscard]] bool answer_common(const core::Outcome& outcome) const;
  void answer_bug() const;
  void note(const core::Refusal& refusal) const;
  // `noted`: what is noted when it is what the app is told.
  void refuse_with(HttpResponse response, std::optional<core::Refusal> noted) const;

  std::shared_ptr<State> state_;  // a completion is copied on its way through std::function
};

}  // namespace mailotp::daemon
