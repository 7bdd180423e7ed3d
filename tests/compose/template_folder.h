// A folder of template files that lives as long as the object.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <stdlib.h>

#include "mail/compose/template_set.h"

namespace mailotp::mail::test {

class TemplateFolder {
 public:
  TemplateFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mailotp-compose-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TemplateFolder(const TemplateFolder&) = delete;
  TemplateFolder& operator=(const TemplateFolder&) = delete;
  ~TemplateFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }

  TemplateFolder& add(const std::string& name, const std::string& text) {
    const std::filesystem::path path = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return *this;
  }
  TemplateFolder& remove(const std::string& name) {
    std::filesystem::remove_all(std::filesystem::path(path_) / name);
    return *this;
  }
  // A template "t" in English that passes the lint and shows a code.
  TemplateFolder& add_good() {
    return add("t/en/subject.mustache", "Your code\n")
        .add("t/en/text.mustache", "Code:\n{{code}}\nBye\n")
        .add("t/en/html.mustache", "<p>Code:</p><p>{{code}}</p>\n");
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] core::Result<TemplateSet> load() const { return TemplateSet::load({path_}, "en"); }

 private:
  std::string path_;
};

}  // namespace mailotp::mail::test
