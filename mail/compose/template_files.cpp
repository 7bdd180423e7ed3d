#include "mail/compose/template_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "mail/compose/utf8.h"

namespace mailotp::mail {

namespace {

namespace fs = std::filesystem;
using core::Errc;

constexpr std::size_t k_largest_file = 64 * 1024;
constexpr std::string_view k_suffix = ".mustache";

// Lines end in LF afterwards. Errc::invalid names the line with a control or with malformed UTF-8.
core::Result<> normalise(SourceFile& file) {
  if (file.text.starts_with("\xEF\xBB\xBF")) file.text.erase(0, 3);
  for (std::size_t cr = file.text.find("\r\n"); cr != std::string::npos; cr = file.text.find("\r\n", cr))
    file.text.erase(cr, 1);
  int line = 1;
  for (std::size_t pos = 0; pos < file.text.size();) {
    const char32_t c = next_code_point(file.text, pos);
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    if (control || c == k_bad_utf8)
      return core::fail(Errc::invalid, file.path + ":" + std::to_string(line) + ": " +
                                           (control ? "a control character" : "not UTF-8"));
    if (c == '\n') ++line;
  }
  return {};
}

core::Result<SourceFile> read_file(const fs::path& path, std::size_t layer) {
  SourceFile file{path.string(), {}, layer};
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return core::fail(Errc::io, file.path + ": cannot be opened");
  file.text.resize(k_largest_file + 1);
  stream.read(file.text.data(), static_cast<std::streamsize>(file.text.size()));
  if (stream.bad()) return core::fail(Errc::io, file.path + ": cannot be read");
  file.text.resize(static_cast<std::size_t>(stream.gcount()));
  if (file.text.size() > k_largest_file) return core::fail(Errc::invalid, file.path + ": larger than 64 KiB");
  if (auto done = normalise(file); !done) return tl::unexpected(done.error());
  return file;
}

// Names in a directory, sorted, without those that start with a dot.
core::Result<std::vector<fs::path>> list(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    if (!entry->path().filename().string().starts_with('.')) entries.push_back(entry->path());
  if (error) return core::fail(Errc::io, directory.string() + ": " + error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool leads_to_directory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

core::Result<> read_partials(const fs::path& directory, std::size_t layer, Partials& partials) {
  auto entries = list(directory);
  if (!entries) return tl::unexpected(entries.error());
  for (const fs::path& path : *entries) {
    if (path.extension() != k_suffix) continue;
    auto file = read_file(path, layer);
    if (!file) return tl::unexpected(file.error());
    partials.insert_or_assign(path.stem().string(), std::move(*file));
  }
  return {};
}

core::Result<> read_locale(const fs::path& directory, std::size_t layer, LocaleFiles& files) {
  if (files.locale.empty()) files.first_layer = layer;
  files.locale = directory.filename().string();
  files.directory = directory.string();
  const std::pair<const char*, std::optional<SourceFile>*> parts[] = {
      {"subject.mustache", &files.subject}, {"text.mustache", &files.text}, {"html.mustache", &files.html}};
  for (const auto& [name, part] : parts) {
    std::error_code error;
    if (fs::status(directory / name, error).type() == fs::file_type::not_found) continue;
    auto file = read_file(directory / name, layer);
    if (!file) return tl::unexpected(file.error());
    *part = std::move(*file);
  }
  return {};
}

core::Result<> read_template(const fs::path& directory, std::size_t layer, TemplateFiles& files) {
  files.directory = directory.string();
  auto entries = list(directory);
  if (!entries) return tl::unexpected(entries.error());
  for (const fs::path& path : *entries) {
    if (path.filename() == "template.toml") {
      auto file = read_file(path, layer);
      if (!file) return tl::unexpected(file.error());
      files.manifest = std::move(*file);
    } else if (leads_to_directory(path)) {
      const std::string key = locale_key(path.filename().string());
      if (key.empty()) return core::fail(Errc::invalid, path.string() + ": not called after a language");
      if (auto done = read_locale(path, layer, files.locales[key]); !done) return done;
    }
  }
  return {};
}

bool is_template_name(std::string_view name) {
  return name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
         });
}

}  // namespace

std::string locale_key(std::string_view locale) {
  std::string key;
  std::size_t part = 0;
  for (const char c : locale) {
    const bool separator = c == '-' || c == '_';
    const bool upper = c >= 'A' && c <= 'Z';
    if (!separator && !upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) return {};
    if (separator ? part == 0 : part == 8) return {};
    part = separator ? 0 : part + 1;
    key += separator ? '-' : upper ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return part == 0 ? std::string() : key;
}

core::Result<FileTree> read_template_files(const std::vector<std::string>& directories) {
  FileTree tree;
  for (std::size_t layer = 0; layer < directories.size(); ++layer) {
    const std::string& directory = directories[layer];
    std::error_code error;
    if (fs::status(directory, error).type() == fs::file_type::not_found) continue;
    auto entries = list(directory);
    if (!entries) return tl::unexpected(entries.error());
    for (const fs::path& path : *entries) {
      if (!leads_to_directory(path)) continue;
      const std::string name = path.filename().string();
      if (name != "_partials" && !is_template_name(name))
        return core::fail(Errc::invalid, path.string() + ": a template's name has a-z, 0-9, - and _ only");
      auto done = name == "_partials" ? read_partials(path, layer, tree.partials)
                                      : read_template(path, layer, tree.templates[name]);
      if (!done) return tl::unexpected(done.error());
    }
  }
  return tree;
}

}  // namespace mailotp::mail
