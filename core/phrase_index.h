// Finds many phrases in one pass over a text: a table from the first three bytes of each piece of a phrase to
// the pieces, built at compile time. A place where no word begins is not looked at, so that a pass over the
// usual 200 bytes takes well under a microsecond, whatever the number of phrases.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mailotp::core {

inline constexpr std::size_t k_piece_anchor = 3;  // bytes that a piece has at least
inline constexpr std::uint16_t k_no_slot = 0xffff;
inline constexpr char k_piece_gap = '*';  // parts the pieces of a phrase

struct PhrasePiece {
  std::string_view text;
  std::uint16_t phrase = 0;
  std::uint16_t slot = k_no_slot;  // of a phrase of several pieces: its number among those
  std::uint8_t place = 0;          // among the pieces of its phrase
  bool last = true;
};

// Whether a phrase can begin here: at the first byte of a word, or at one that belongs to none (a sign, and
// any byte of a script that writes no spaces).
[[nodiscard]] constexpr bool in_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

template <std::size_t Pieces>
class PhraseIndex {
 public:
  // Calls found(piece, begin) for every place where a piece stands, from left to right.
  template <typename Found>
  constexpr void search(std::string_view text, Found found) const {
    for (std::size_t i = 0; i + k_piece_anchor <= text.size(); ++i) {
      if (i > 0 && in_word(text[i]) && in_word(text[i - 1])) continue;
      const std::size_t bucket = hash(text.substr(i));
      for (std::size_t k = starts_[bucket]; k < starts_[bucket + 1]; ++k) {
        if (text.substr(i).starts_with(pieces_[k].text)) found(pieces_[k], i);
      }
    }
  }

  // Counting sort by bucket; the order of `pieces` stays within one.
  constexpr explicit PhraseIndex(const std::array<PhrasePiece, Pieces>& pieces) {
    for (const PhrasePiece& piece : pieces)
      ++starts_[hash(piece.text) + 1];
    for (std::size_t i = 1; i < starts_.size(); ++i)
      starts_[i] = static_cast<std::uint16_t>(starts_[i] + starts_[i - 1]);
    auto next = starts_;
    for (const PhrasePiece& piece : pieces)
      pieces_[next[hash(piece.text)]++] = piece;
  }

 private:
  static constexpr std::size_t k_buckets = 4096;

  static constexpr std::size_t hash(std::string_view text) {
    std::uint32_t anchor = 0;
    for (std::size_t i = 0; i < k_piece_anchor; ++i)
      anchor = (anchor << 8) | static_cast<unsigned char>(text[i]);
    return (anchor * 2654435761U) >> 20;  // Knuth's multiplier; the upper 12 bits
  }

  std::array<PhrasePiece, Pieces> pieces_{};
  std::array<std::uint16_t, k_buckets + 1> starts_{};
};

}  // namespace mailotp::core
