#include "daemon/diagnosis/diagnosis.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "daemon/config/accounts.h"
#include "daemon/config/config_file.h"
#include "daemon/diagnosis/files.h"
#include "daemon/diagnosis/host.h"
#include "daemon/diagnosis/mail.h"
#include "daemon/diagnosis/site.h"
#include "store/start_files.h"

namespace mailotp::daemon {
namespace {

// One a line of the error, which begins with file, line and column.
std::vector<Finding> bad_configuration(const std::string& path, const core::Error& error) {
  std::vector<Finding> out;
  if (error.code == core::Errc::not_found)
    return {{"configuration", path, Outcome::failed, "there is no such file",
             "name it with --config, or make one: examples/mailotpd.toml has every key"}};
  for (std::string_view rest = error.what; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.starts_with(path + ":")) line.remove_prefix(path.size() + 1);
    out.push_back({"configuration", path, Outcome::failed, std::string(line),
                   fmt::format("correct that line, then try: mailotpctl check-config {}", path)});
  }
  return out;
}

Finding good_configuration(const std::string& path, const core::Config& config) {
  if (config.daemon.mode == core::Mode::development)
    return {"configuration", path, Outcome::warning, "mode = \"development\": no mail leaves this machine",
            "for real mails: mode = \"production\" in [daemon], and a [[relay]] with a host"};
  return {"configuration", path, Outcome::ok,
          fmt::format("good, {} {}", config.relays.size(), config.relays.size() == 1 ? "relay" : "relays"),
          ""};
}

Finding bad_database(const std::string& path, const core::Error& error) {
  switch (error.code) {
    case core::Errc::unsupported:
      return {"database", path, Outcome::failed, error.what,
              "install the newer mailotpd again, or put back the state folder of before the upgrade"};
    case core::Errc::invalid:
      return {"database", path, Outcome::failed, error.what,
              "set state_dir in [daemon] to a folder of mailotpd's own"};
    case core::Errc::corrupt:
      return {"database", path, Outcome::failed, error.what,
              "stop mailotpd, look for errors of the disk (journalctl -k), and put back a backup of the "
              "state folder"};
    default:
      return {"database", path, Outcome::failed, error.what, "look for errors of the disk: journalctl -k"};
  }
}

Finding good_database(const std::string& path, const store::Inspection& seen, store::FolderUse use) {
  std::string saw = fmt::format("{}, schema {}", shown_size(seen.bytes), seen.schema);
  if (seen.schema < seen.newest) saw += fmt::format(", which the next start brings to {}", seen.newest);
  if (seen.checked)
    saw += ", every page looked at";
  else if (use == store::FolderUse::left_open)
    saw += ", not looked through: the last run did not end cleanly, and the next start reads its log";
  else
    saw += ", too large to be looked through";
  return {"database", path, Outcome::ok, std::move(saw), ""};
}

// The keys that are needed come out of it.
Finding check_database(const Site& site, std::vector<std::string>& keys_needed) {
  const std::string path = store::database_in(site.config.daemon.state_dir);
  if (!site.folder || ::access(path.c_str(), R_OK) != 0) {
    if (!site.folder || errno == EACCES) return unseen("database", path);
    return {"database", path, Outcome::ok, "there is none yet: the first start makes it", ""};
  }
  auto seen = store::inspect(site.config.daemon.state_dir, site.folder->use);
  if (!seen) return bad_database(path, seen.error());
  keys_needed = std::move(seen->keys_needed);
  return good_database(path, *seen, site.folder->use);
}

}  // namespace

std::vector<Finding> diagnose(const std::string& config_path) {
  if (::access(config_path.c_str(), R_OK) != 0 && errno == EACCES)
    return {unseen("configuration", config_path)};
  const auto loaded = load_config(config_path, SystemAccounts());
  if (!loaded) return bad_configuration(config_path, loaded.error());
  const Site site = look_at_site(loaded->config);
  std::vector<std::string> keys_needed;
  Finding database = check_database(site, keys_needed);
  std::vector<Finding> out{good_configuration(config_path, loaded->config), check_mail_templates(*loaded),
                           check_programs(site), check_key_file(site, keys_needed)};
  const auto add = [&out](std::vector<Finding> more) { std::ranges::move(more, std::back_inserter(out)); };
  add(check_password_files(site));
  add({check_state_folder(site), std::move(database), check_disk(site), check_clock(), check_confinement()});
  add(check_sockets(site));
  add({check_bounce_path(site)});
  return out;
}

ExitCode print_diagnosis(const std::string& config_path) {
  bool bad = false;
  for (const Finding& finding : diagnose(config_path)) {
    (void)std::printf("%s\n", json_line(finding).c_str());
    bad = bad || finding.outcome == Outcome::failed;
  }
  if (std::fflush(stdout) != 0) return ExitCode::store_failed;
  return bad ? ExitCode::bad_configuration : ExitCode::ok;
}

}  // namespace mailotp::daemon
