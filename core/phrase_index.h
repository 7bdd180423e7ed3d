// Finds many phrases in one pass over a text: their pieces, sorted, are reached by the first three bytes at
// the start of a word, and compared from where the piece before stopped to agree. A pass over the usual 200
// bytes takes about a microsecond with thousands of phrases.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mailotp::core {

inline constexpr std::size_t k_piece_anchor = 3;  // bytes that a piece has at least

struct PhrasePiece {
  std::string_view text;     // outlives the index
  std::uint16_t phrase = 0;  // the caller's number
  std::uint16_t slot = 0;    // of a phrase of several pieces: its number among those; else k_no_slot
  std::uint8_t place = 0;    // among the pieces of its phrase
  bool last = true;
};
inline constexpr std::uint16_t k_no_slot = 0xffff;

// Immutable once made; any thread.
class PhraseIndex {
 public:
  // Pieces shorter than k_piece_anchor or longer than 255 bytes, and those that begin with a space, are our
  // bug.
  explicit PhraseIndex(std::vector<PhrasePiece> pieces);

  // Calls found(piece, begin) for every place where a piece stands, from left to right. A piece that begins
  // with a letter or a digit stands only where a word begins.
  template <typename Found>
  void search(std::string_view text, Found found) const {
    for (std::size_t i = 0; i + k_piece_anchor <= text.size(); ++i) {
      if (text[i] == ' ' || (i > 0 && in_word(text[i]) && in_word(text[i - 1]))) continue;
      const std::string_view rest = text.substr(i);
      std::size_t agreed = k_piece_anchor;
      for (std::size_t k = first_of(anchor_of(rest)), first = k; k < pieces_.size(); ++k) {
        const std::size_t shared = k == first ? k_piece_anchor : shared_[k];
        if (shared > agreed) continue;
        if (shared < agreed) break;  // sorted: neither this piece nor a later one agrees further
        const std::string_view piece = pieces_[k].text;
        const std::size_t most = std::min(piece.size(), rest.size());
        while (agreed < most && piece[agreed] == rest[agreed])
          ++agreed;
        if (agreed == piece.size()) found(pieces_[k], i);
      }
    }
  }

 private:
  struct Anchor {
    std::uint32_t bytes = 0;
    std::uint32_t first = 0;
  };
  static constexpr std::size_t k_slots = 4096;

  static constexpr bool in_word(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
  static constexpr std::uint32_t anchor_of(std::string_view text) {
    std::uint32_t bytes = 0;
    for (std::size_t i = 0; i < k_piece_anchor; ++i)
      bytes = (bytes << 8) | static_cast<unsigned char>(text[i]);
    return bytes;
  }
  static constexpr std::size_t slot_of(std::uint32_t bytes) {
    return (bytes * 2654435761U) >> 20;  // Knuth's multiplier; the upper 12 bits
  }
  // The first piece that begins so, or pieces_.size().
  [[nodiscard]] std::size_t first_of(std::uint32_t bytes) const {
    for (std::size_t i = slot_of(bytes); anchors_[i].bytes != 0; i = (i + 1) % k_slots) {
      if (anchors_[i].bytes == bytes) return anchors_[i].first;
    }
    return pieces_.size();
  }

  std::vector<PhrasePiece> pieces_;   // sorted by text
  std::vector<std::uint8_t> shared_;  // bytes in common with the piece before
  std::array<Anchor, k_slots> anchors_{};
};

}  // namespace mailotp::core
