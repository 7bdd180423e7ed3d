#include "mail/compose/manifest.h"

#include <algorithm>

#include "mail/compose/toml.h"

namespace mailotp::mail {

namespace {

using core::Errc;

constexpr std::int64_t k_longest_value = 1000;

// In an error. A key in quotes may be anything, a line break too: then its place must do.
std::string shown(std::string_view key) {
  return is_variable_name(key) ? " " + std::string(key) : std::string();
}

// Reads one file; remembers the first thing that is wrong.
class ManifestReader {
 public:
  explicit ManifestReader(const std::string& path) : path_(path) {}

  core::Result<Manifest> read(const toml::table& root) {
    Manifest manifest;
    for (const auto& [key, node] : root) {
      if (key.str() == "code_in_subject")
        take(node, manifest.code_in_subject, "true or false");
      else if (key.str() == "uncertain")
        manifest.on_uncertain = read_uncertain(node);
      else if (key.str() == "variables")
        read_variables(node, manifest.variables);
      else
        refuse(key.source(), "unknown key" + shown(key.str()));
    }
    if (!error_.empty()) return core::fail(Errc::invalid, error_);
    return manifest;
  }

 private:
  void refuse(const toml::source_region& where, const std::string& why) {
    if (error_.empty()) error_ = path_ + ":" + std::to_string(where.begin.line) + ": " + why;
  }

  template <class T>
  void take(const toml::node& node, T& out, const char* wanted) {
    if (const auto value = node.value_exact<T>())
      out = *value;
    else
      refuse(node.source(), std::string("must be ") + wanted);
  }

  core::OnUncertain read_uncertain(const toml::node& node) {
    const auto text = node.value_exact<std::string>();
    if (text == "hold") return core::OnUncertain::hold;
    if (text != "resend") refuse(node.source(), "uncertain must be resend or hold");
    return core::OnUncertain::resend;
  }

  void read_variables(const toml::node& node, std::vector<Variable>& out) {
    const toml::table* table = node.as_table();
    if (table == nullptr) return refuse(node.source(), "variables must be tables: [variables.NAME]");
    for (const auto& [key, value] : *table) {
      const std::string name(key.str());
      if (!is_variable_name(name))
        refuse(key.source(), "a variable's name has letters, digits and _ only");
      else if (builtin_presence(name))
        refuse(key.source(), "variable " + name + " is built in and cannot be declared");
      else if (!value.is_table())
        refuse(value.source(), "variable " + name + " must be a table, as in [variables.name]");
      else
        out.push_back(read_variable(name, *value.as_table()));
    }
  }

  Variable read_variable(const std::string& name, const toml::table& table) {
    Variable variable;
    variable.name = name;
    std::int64_t max_length = static_cast<std::int64_t>(variable.max_length);
    std::string kind = "text";
    for (const auto& [key, node] : table) {
      if (key.str() == "required")
        take(node, variable.required, "true or false");
      else if (key.str() == "default")
        take(node, variable.default_value, "a string");
      else if (key.str() == "max_length")
        take(node, max_length, "a whole number");
      else if (key.str() == "kind")
        take(node, kind, "a string");
      else if (key.str() == "sample")
        take(node, variable.sample, "a string");
      else
        refuse(key.source(), "unknown key" + shown(key.str()) + " of variable " + name);
    }
    if (max_length < 1 || max_length > k_longest_value)
      refuse(table.source(), "max_length of variable " + name + " must be 1 to 1000");
    if (kind != "text" && kind != "url")
      refuse(table.source(), "kind of variable " + name + " must be text or url");
    variable.max_length = static_cast<std::size_t>(std::max<std::int64_t>(max_length, 1));
    variable.kind = kind == "url" ? ValueKind::url : ValueKind::text;
    check(variable, table.source());
    return variable;
  }

  void check(Variable& variable, const toml::source_region& where) {
    if (variable.required && !variable.default_value.empty())
      refuse(where, "variable " + variable.name + " is required and has a default: it can only be one");
    if (variable.sample.empty()) variable.sample = variable.default_value;
    if (variable.sample.empty()) refuse(where, "variable " + variable.name + " needs a sample");
    if (const auto why = refuse_value(variable.kind, variable.max_length, variable.sample))
      refuse(where, "the sample of variable " + variable.name + " " + *why);
    if (variable.default_value.empty()) return;
    if (const auto why = refuse_value(variable.kind, variable.max_length, variable.default_value))
      refuse(where, "the default of variable " + variable.name + " " + *why);
  }

  const std::string& path_;
  std::string error_;
};

}  // namespace

const Variable* Manifest::find(std::string_view name) const {
  const auto found =
      std::find_if(variables.begin(), variables.end(), [name](const Variable& v) { return v.name == name; });
  return found == variables.end() ? nullptr : &*found;
}

core::Result<Manifest> parse_manifest(const SourceFile& source) {
  const auto root = parse_toml(source.text);
  if (!root)
    return core::fail(Errc::invalid,
                      source.path + ":" + std::to_string(root.error().at.line) + ": " + root.error().what);
  return ManifestReader(source.path).read(*root);
}

}  // namespace mailotp::mail
