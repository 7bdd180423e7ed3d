#include "mail/bounce/formats.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <vector>

#include "mail/bounce/ascii.h"

namespace mailotp::mail {
namespace {

using enum Shape;

constexpr TextFormat k_postfix{.rule = "postfix-text"};
constexpr TextFormat k_postfix_delay{.rule = "postfix-delay-text", .delay = true};
constexpr TextFormat k_qmail{.rule = "qmail-text"};
constexpr TextFormat k_exim{.rule = "exim-text"};
constexpr TextFormat k_exim_delay{.rule = "exim-delay-text", .delay = true};
constexpr TextFormat k_sendmail{.rule = "sendmail-text", .end = "transcript of session"};
constexpr TextFormat k_sendmail_delay{
    .rule = "sendmail-delay-text", .delay = true, .end = "transcript of session"};
constexpr TextFormat k_transcript{.rule = "sendmail-transcript", .shape = reply};
constexpr TextFormat k_yahoo{.rule = "yahoo-text"};
constexpr TextFormat k_gmail{.rule = "gmail-text"};
constexpr TextFormat k_gmail_delay{.rule = "gmail-delay-text", .delay = true};
constexpr TextFormat k_gmail_notice{.rule = "gmail-notice", .shape = anywhere};
constexpr TextFormat k_gmail_notice_delay{.rule = "gmail-notice-delay", .shape = anywhere, .delay = true};
constexpr TextFormat k_exchange{
    .rule = "exchange-text", .shape = anywhere, .end = "the e-mail system was unable"};
constexpr TextFormat k_exchange_delay{.rule = "exchange-delay-text", .shape = anywhere, .delay = true};
constexpr TextFormat k_iis{.rule = "iis-text"};
constexpr TextFormat k_groupwise{.rule = "groupwise-text"};
constexpr TextFormat k_domino{.rule = "domino-text"};
constexpr TextFormat k_notes{.rule = "notes-text"};
constexpr TextFormat k_mimecast{.rule = "mimecast-text"};
constexpr TextFormat k_opensmtpd{.rule = "opensmtpd-text"};
constexpr TextFormat k_opensmtpd_delay{.rule = "opensmtpd-delay-text", .delay = true};
constexpr TextFormat k_james{.rule = "james-text", .shape = keyword, .keyword = "rcpt to:"};
constexpr TextFormat k_courier{.rule = "courier-text"};
constexpr TextFormat k_interscan{.rule = "interscan-text", .shape = angle};
constexpr TextFormat k_interscan_keyword{.rule = "interscan-text", .shape = keyword, .keyword = "rcpt to:"};
constexpr TextFormat k_zoho{.rule = "zoho-text", .shape = anywhere};
constexpr TextFormat k_mailru{.rule = "mailru-text"};
constexpr TextFormat k_kddi{.rule = "kddi-text", .shape = keyword, .keyword = "could not be delivered to:"};
constexpr TextFormat k_ezweb{.rule = "ezweb-text", .shape = anywhere};
constexpr TextFormat k_verizon{.rule = "verizon-text", .shape = keyword, .keyword = "to:"};
constexpr TextFormat k_trouble{.rule = "trouble-text", .shape = angle};
constexpr TextFormat k_smtp32{.rule = "smtp32-text", .shape = anywhere};
constexpr TextFormat k_surfcontrol{.rule = "surfcontrol-text", .shape = keyword, .keyword = "addressed to:"};
constexpr TextFormat k_barracuda{.rule = "barracuda-text", .shape = anywhere};
constexpr TextFormat k_fml{.rule = "fml-text", .shape = angle, .trust = Trust::alone};
constexpr TextFormat k_workmail{.rule = "workmail-text"};
constexpr TextFormat k_mailmarshal{.rule = "mailmarshal-text"};
constexpr TextFormat k_messaging_server{
    .rule = "messaging-server-text", .shape = keyword, .keyword = "address:"};
constexpr TextFormat k_messaging_server_delay{
    .rule = "messaging-server-delay-text", .shape = keyword, .delay = true, .keyword = "address:"};
constexpr TextFormat k_lsmtp{.rule = "lsmtp-text", .shape = keyword, .keyword = "error-for:"};
constexpr TextFormat k_dragonfly{.rule = "dragonfly-text", .shape = angle};
constexpr TextFormat k_netscape{.rule = "netscape-text", .shape = anywhere};
constexpr TextFormat k_aol{.rule = "aol-text", .shape = local};
constexpr TextFormat k_yale{.rule = "yale-text", .shape = local, .end = "error detail"};
constexpr TextFormat k_communigate{.rule = "communigate-text", .shape = anywhere};
constexpr TextFormat k_non_delivery{.rule = "non-delivery-text", .shape = angle, .trust = Trust::alone};
constexpr TextFormat k_mdaemon{.rule = "mdaemon-text", .end = "session transcript"};
constexpr TextFormat k_listed{.rule = "listed-text"};
constexpr TextFormat k_listed_delay{.rule = "listed-delay-text", .delay = true};
constexpr TextFormat k_sentence{.rule = "sentence-text", .shape = anywhere};
constexpr TextFormat k_quoted_to{.rule = "quoted-to-text", .shape = keyword, .keyword = "to:"};
constexpr TextFormat k_failed_keyword{
    .rule = "failed-recipient-text", .shape = keyword, .keyword = "failed recipient:"};
constexpr TextFormat k_warning{.rule = "warning-text", .shape = anywhere, .delay = true};

constexpr Marker begin(std::string_view words, const TextFormat& format) {
  return {words, MarkerUse::begin, &format};
}
constexpr Marker original(std::string_view words) {
  return {words, MarkerUse::original, nullptr};
}
constexpr Marker late(std::string_view words) {
  return {words, MarkerUse::delay, nullptr};
}

// A plain array: clang 14 deduces a std::array only up to 256 elements.
constexpr Marker k_markers[]{
    begin("i'm sorry to have to inform you", k_postfix),
    begin("the message returned below could not be delivered", k_postfix),
    begin("your message could not be delivered for more than", k_postfix_delay),
    begin("your message could not be delivered for 0", k_postfix_delay),
    begin("hi. this is the", k_qmail),
    begin("this is a permanent error; i", k_qmail),
    begin("i'm afraid i wasn't able to deliver", k_qmail),
    begin("i'm afraid i wasn't able to deliver the following message", k_quoted_to),
    begin("i am afraid i was not able to deliver", k_qmail),
    begin("we're sorry. there's a problem with the e-mail address", k_qmail),
    begin("this message was created automatically by mail delivery", k_exim),
    begin("this message was created automatically by the mail", k_exim),
    begin("this message was created automatically by a mail", k_exim),
    begin("a message that you sent could not be delivered", k_exim),
    begin("a message that you have sent could not be delivered", k_exim),
    begin("a message that you sent using", k_exim),
    begin("the following address failed", k_exim),
    begin("the following addresses failed", k_exim),
    begin("the following address(es) failed", k_exim),
    begin("the following recipients failed", k_exim),
    begin("a message that you sent has not yet been delivered", k_exim_delay),
    begin("a message that you sent contained one or more recipient", k_exim),
    begin("the address to which the message has not yet been", k_exim_delay),
    begin("the addresses to which the message has not yet been", k_exim_delay),
    begin("the following addresses had", k_sendmail),
    begin("the following address had", k_sendmail),
    begin("the following addresses had transient", k_sendmail_delay),
    begin("the following addresses have", k_sendmail),
    begin("transcript of session follows", k_transcript),
    begin("recipients of this delivery", k_listed),
    begin("unable to deliver message to the following address", k_yahoo),
    begin("sorry, we were unable to deliver your message", k_yahoo),
    begin("we were unable to deliver your message", k_yahoo),
    begin("delivery to the following recipient", k_gmail),
    begin("delivery to the following recipient has been delayed", k_gmail_delay),
    begin("delivery to the following recipients has been delayed", k_gmail_delay),
    begin("delivery to the following recipient(s) has been delayed", k_gmail_delay),
    begin("delivery to the following address", k_gmail),
    begin("delevery to the following recipients", k_gmail),
    begin("delivery to these recipients", k_gmail),
    begin("your message wasn't delivered to", k_gmail_notice),
    begin("there was a problem delivering your message to", k_gmail_notice),
    begin("your message to", k_gmail_notice),
    begin("there was a temporary problem delivering your message to", k_gmail_notice_delay),
    begin("did not reach the following recipient", k_exchange),
    begin("your message did not reach some or all", k_exchange),
    begin("the following recipient(s) could not be reached", k_exchange),
    begin("the following recipient(s) cannot be reached", k_exchange),
    begin("the following recipients cannot be reached", k_exchange),
    begin("the following recipients could not be reached", k_exchange),
    begin("delivery has failed to these", k_exchange),
    begin("delivery is delayed to these", k_exchange_delay),
    begin("delivery to these recipients or groups is delayed", k_exchange_delay),
    begin("delivery to these recipients or distribution lists is delayed", k_exchange_delay),
    begin("this is an advisory-only email", k_exchange_delay),
    begin("this is an automatically generated delivery status notification", k_iis),
    begin("the message that you sent was undeliverable to", k_groupwise),
    begin("the message you sent was undeliverable to", k_groupwise),
    begin("was not delivered to", k_domino),
    begin("failure reasons", k_notes),
    begin("an email you addressed to email address", k_mimecast),
    begin("an error has occurred while attempting to deliver", k_opensmtpd),
    begin("the following list of recipients", k_opensmtpd),
    begin("a message is delayed for more than", k_opensmtpd_delay),
    begin("message details", k_james),
    begin("error message below", k_james),
    begin("your message to the following recipients cannot be delivered", k_courier),
    begin("your message to the following recipient cannot be delivered", k_courier),
    begin("the following recipients cannot be delivered", k_courier),
    begin("unable to deliver message to", k_interscan),
    begin("message from interscan", k_interscan),
    begin("message from interscan e-mail viruswall", k_interscan_keyword),
    begin("the following mail could not be delivered", k_interscan),
    begin("status: error, address", k_zoho),
    begin("Ваше письмо не может быть доставлено", k_mailru),
    begin("К сожалению, Ваше письмо не может", k_mailru),
    begin("your mail sent on", k_kddi),
    begin("your mail attempted to be delivered on", k_kddi),
    begin("could not be delivered to: <", k_kddi),
    begin("each of the following recipients was rejected", k_ezweb),
    begin("the user(s) account is", k_ezweb),
    begin("your message was not delivered within", k_ezweb),
    begin("the following recipients did not receive this message", k_ezweb),
    begin("the following recipient did not receive this message", k_ezweb),
    begin("message could not be delivered to mobile", k_verizon),
    begin("we had trouble delivering your message", k_trouble),
    begin("the following recipients returned permanent errors", k_trouble),
    begin("unknown user:", k_smtp32),
    begin("unknown host:", k_smtp32),
    begin("user mailbox exceeds allowed size:", k_smtp32),
    begin("invalid final delivery userid:", k_smtp32),
    begin("undeliverable to", k_smtp32),
    begin("delivery failed ", k_smtp32),
    begin("your message could not be sent", k_surfcontrol),
    begin("your message to:", k_barracuda),
    begin("you are not a member of this mailing list", k_fml),
    begin("duplicated message-id in", k_fml),
    begin("an error occurred while trying to deliver the mail to the following", k_workmail),
    begin("the following recipients were affected", k_mailmarshal),
    begin("your message cannot be delivered to the following recipients", k_messaging_server),
    begin("your message is being returned", k_messaging_server),
    begin("your message has been enqueued and undeliverable", k_messaging_server_delay),
    begin("error description", k_lsmtp),
    begin("there was an error delivering your mail to", k_dragonfly),
    begin("this message was undeliverable due to the following reason", k_netscape),
    begin("the message that caused this notification was", k_netscape),
    begin("your mail to the following recipients could not be delivered", k_aol),
    begin("message not delivered to the following", k_yale),
    begin("message not delivered to the following addresses", k_listed),
    begin("failed to deliver to", k_communigate),
    begin("the email below could not be delivered to the following user", k_non_delivery),
    begin("the following addresses did not receive a copy", k_mdaemon),
    begin("the attached message had permanent delivery errors", k_mdaemon),
    begin("the attached message had permanent fatal delivery errors", k_mdaemon),
    begin("here is your list of failed recipients", k_listed),
    begin("failed addresses follow", k_listed),
    begin("this is the machine generated message from mail service", k_listed),
    begin("failed recipients", k_listed),
    begin("this is the deliver program at", k_listed),
    begin("the following recipients could not be delivered", k_listed),
    begin("could not be delivered to the following", k_listed),
    begin("your message could not be delivered to the following", k_listed),
    begin("your message was not delivered to the following", k_listed),
    begin("the following destination addresses were unknown", k_listed),
    begin("these recipients of your message have been processed", k_listed),
    begin("unable to deliver the message to the following", k_listed),
    begin("unable to deliver your message to the following", k_listed),
    begin("there was a problem with delivering your message to the following", k_listed),
    begin("your mail message to the following address", k_listed),
    begin("your mail could not be delivered to the following", k_listed),
    begin("your e-mail could not be delivered to the following", k_listed),
    begin("your email could not be delivered to the following", k_listed),
    begin("the message could not be delivered to the following", k_listed),
    begin("mail could not be delivered to the following", k_listed),
    begin("i was unable to deliver your message to the following", k_listed),
    begin("we were unable to deliver your message to the following", k_listed),
    begin("undeliverable recipients", k_listed),
    begin("the following recipients are invalid", k_listed),
    begin("your message was not delivered to", k_listed),
    begin("message delivery to the following recipients failed", k_listed),
    begin("we could not deliver your message to", k_sentence),
    begin("we couldn't deliver your message to", k_sentence),
    begin("the following recipients have not yet received", k_listed_delay),
    begin("the following recipients have not received", k_listed),
    begin("rejected your message to the following", k_exchange),
    begin("your message couldn't be delivered to", k_exchange),
    begin("your message can't be delivered to", k_exchange),
    begin("couldn't be delivered to these recipients", k_exchange),
    begin("fehler bei der nachrichtenzustellung an folgende", k_exchange),
    begin("Échec de la remise pour", k_exchange),
    begin("no se pudo entregar el mensaje a estos", k_exchange),
    begin("recapito non riuscito per", k_exchange),
    begin("falha na entrega para est", k_exchange),
    begin("bezorging is mislukt voor", k_exchange),
    begin("the following message to", k_sentence),
    begin("the message could not be delivered to", k_sentence),
    begin("your mail could not be delivered to", k_sentence),
    begin("your e-mail could not be delivered to", k_sentence),
    begin("your email could not be delivered to", k_sentence),
    begin("could not send message to", k_sentence),
    begin("could not send your message to", k_sentence),
    begin("unable to deliver to", k_sentence),
    begin("you sent mail to", k_sentence),
    begin("intended recipient", k_sentence),
    begin("undeliverable address", k_sentence),
    begin("the following message, addressed to", k_sentence),
    begin("user's mailbox is full:", k_sentence),
    begin("sorry, unable to deliver your message to", k_sentence),
    begin("a message could not be delivered to", k_sentence),
    begin("your message could not be delivered", k_sentence),
    begin("your message has encountered delivery problems", k_sentence),
    begin("this is the email server at", k_sentence),
    begin("could not deliver your message to", k_sentence),
    begin("could not deliver the message to", k_sentence),
    begin("unable to deliver your message to", k_sentence),
    begin("unable to deliver mail to", k_sentence),
    begin("message could not be delivered to", k_sentence),
    begin("delivery failed to", k_sentence),
    begin("mail delivery to", k_sentence),
    begin("could not deliver message to the following recipient", k_failed_keyword),
    begin("delivery attempts will continue", k_warning),
    begin("this is just a warning", k_warning),

    original("below this line is a copy"),
    original("below this line is the"),
    original("below the next line is a copy"),
    original("below is a copy of the original"),
    original("this is a copy of the message"),
    original("this is a copy of your message"),
    original("this is a copy of the headers"),
    original("the body of the message is"),
    original("the header of the original message is following"),
    original("original message follows"),
    original("original message ---"),
    original("original message ==="),
    original("original message attached"),
    original("original mail as follows"),
    original("original mail info"),
    original("message headers follow"),
    original("message header follows"),
    original("header of the original message"),
    original("unsent message follows"),
    original("unsent message below"),
    original("unsent message"),
    original("returned message follows"),
    original("returned message ---"),
    original("returned mail follows"),
    original("returned mail ---"),
    original("returned content below"),
    original("start of returned message"),
    original("here is your returned mail"),
    original("here is a copy of"),
    original("a copy of the original message"),
    original("message text follows"),
    original("text of your message follows"),
    original("message header"),
    original("included is a copy of the message"),
    original("old message:"),
    original("your message reads"),
    original("begin message header"),
    original("begin forwarded message"),
    original("forwarded message"),
    original("forwarded by "),
    original("mensaje original adjunto"),
    original("non-delivered message"),
    original("attached is a copy"),
    original("undelivered message"),
    original("received: from "),
    original("received:from "),
    original("received: by "),
    original("received: (qmail "),
    original("return-path: "),
    original("x-envelope-from: "),

    late("this is a warning message only"),
    late("this is a warning only"),
    late("you do not need to resend your message"),
    late("has not yet been delivered"),
    late("this message hasn't been delivered yet"),
    late("the server will keep trying"),
    late("delivery will continue to be attempted"),
    late("it will be retried until"),
    late("message will be retried for"),
    late("no action is required on your part"),
    late("please note that this is only a temporary failure"),
    late("warning: message still undelivered"),
    late("will keep trying"),
    late("delays in delivering your message"),
    late("your message has not yet been delivered"),
    late("your mail has not yet been delivered"),
    late("your message is delayed"),
    late("delivery of your message has been delayed"),
    late("delivery will be retried"),
    late("we will continue to try"),
    late("the system will continue to try"),
    late("your message has been delayed"),
    late("gmail will retry"),
    late("delivery is delayed to"),

    Marker{"final-recipient:", MarkerUse::fields, nullptr},
    Marker{"original-recipient:", MarkerUse::fields, nullptr},
    Marker{"message-id:", MarkerUse::token, nullptr},
    Marker{"x-mailotp-message:", MarkerUse::token, nullptr},
};

constexpr std::size_t k_key_bytes = 4;

std::uint32_t key_of(std::string_view text) {
  std::uint32_t key = 0;
  for (std::size_t i = 0; i < k_key_bytes; ++i)
    key = (key << 8U) | static_cast<unsigned char>(lower(text[i]));
  return key;
}
constexpr std::size_t slot_of(std::uint32_t key) {
  return (key * 2654435761U) >> 22U;  // 1,024 slots
}

// Markers by the hash of their first bytes, the longest of a slot first. Built once, never changed.
class MarkerIndex {
 public:
  MarkerIndex() : next_(std::size(k_markers), k_none) {
    heads_.fill(k_none);
    std::vector<std::uint16_t> order(std::size(k_markers));
    for (std::size_t i = 0; i < order.size(); ++i)
      order[i] = static_cast<std::uint16_t>(i);
    std::stable_sort(order.begin(), order.end(), [](std::uint16_t a, std::uint16_t b) {
      return k_markers[a].words.size() < k_markers[b].words.size();
    });
    for (const std::uint16_t marker : order) {
      std::uint16_t& head = heads_[slot_of(key_of(k_markers[marker].words))];
      next_[marker] = head;
      head = marker;
    }
  }
  [[nodiscard]] const Marker* find(std::string_view text) const {
    if (text.size() < k_key_bytes) return nullptr;
    for (std::uint16_t at = heads_[slot_of(key_of(text))]; at != k_none; at = next_[at]) {
      if (istarts_with(text, k_markers[at].words)) return &k_markers[at];
    }
    return nullptr;
  }

 private:
  static constexpr std::uint16_t k_none = 0xFFFF;
  std::array<std::uint16_t, 1024> heads_{};
  std::vector<std::uint16_t> next_;
};

}  // namespace

const Marker* find_marker(std::string_view text) {
  static const MarkerIndex index;
  return index.find(text);
}

std::size_t decoration_length(std::string_view line) {
  static constexpr CharSet k_decoration(" \t-*#=>|_~[(\"");
  return k_decoration.skip(line);
}

std::span<const Marker> all_markers() {
  return k_markers;
}

}  // namespace mailotp::mail
