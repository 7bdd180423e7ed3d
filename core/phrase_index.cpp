#include "core/phrase_index.h"

#include "core/check.h"

namespace mailotp::core {

PhraseIndex::PhraseIndex(std::vector<PhrasePiece> pieces) : pieces_(std::move(pieces)) {
  std::ranges::stable_sort(pieces_, {}, &PhrasePiece::text);
  shared_.resize(pieces_.size());
  std::size_t anchors = 0;
  for (std::size_t k = 0; k < pieces_.size(); ++k) {
    const std::string_view text = pieces_[k].text;
    CHECK(text.size() >= k_piece_anchor && text.size() <= 255 && text[0] != ' ');
    if (k > 0) {
      const std::string_view before = pieces_[k - 1].text;
      const auto differ = std::ranges::mismatch(text, before);
      shared_[k] = static_cast<std::uint8_t>(differ.in1 - text.begin());
    }
    if (shared_[k] >= k_piece_anchor) continue;
    CHECK(++anchors < k_slots / 2);
    const std::uint32_t bytes = anchor_of(text);
    std::size_t slot = slot_of(bytes);
    while (anchors_[slot].bytes != 0)
      slot = (slot + 1) % k_slots;
    anchors_[slot] = {bytes, static_cast<std::uint32_t>(k)};
  }
}

}  // namespace mailotp::core
