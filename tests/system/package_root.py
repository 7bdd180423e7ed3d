"""A system of its own in a folder, for dpkg: the programs that maintainer scripts run, with their libraries, and this
machine's records of what is installed, so that the package's dependencies count. Nothing outside the folder is changed.

Needs root, and a mount namespace: /proc and /dev/null are mounted for each command alone.
"""
import functools
import glob
import os
import shutil
import subprocess
import tempfile

from harness import BIN, BOUND, Daemon

# Essential in Debian, so that scripts may rely on it …
BASE = ("sh", "cat", "chmod", "chown", "getent", "install", "kill", "mkdir", "mv", "perl", "rm", "test", "userdel", "groupdel",
        "deb-systemd-helper", "deb-systemd-invoke", "chroot")
# … and the two ways of making users and folders.
SYSTEMD = ("systemd-sysusers", "systemd-tmpfiles")
ADDUSER = ("adduser", "addgroup", "useradd", "groupadd", "usermod", "chage", "gpasswd", "passwd", "find", "chfn")

MOUNTED = 'mount --rbind /proc "$1/proc" && mount --bind /dev/null "$1/dev/null" && shift && exec "$@"'


def run(*command, bound=BOUND):
    return subprocess.run(command, capture_output=True, text=True, timeout=bound, check=False, stdin=subprocess.DEVNULL)


def libraries(*programs):
    """The paths of the shared libraries that the programs are linked with; a script has none."""
    words = run("ldd", *programs).stdout.split()
    return {word for word in words if word.startswith("/") and os.path.isfile(word)}


@functools.cache
def parts(tools):
    """The programs of a root, with all that they and ours are linked with."""
    programs = {name: shutil.which(name, path="/usr/sbin:/usr/bin") for name in (*BASE, *tools)}
    if None in programs.values():
        raise AssertionError(f"not on this machine: {[name for name, path in programs.items() if not path]}")
    modules = [path for name in ("rootok", "permit") for path in glob.glob(f"/usr/lib/*/security/pam_{name}.so")]
    ours = [os.path.join(BIN, name) for name in ("mailotpd", "mailotp-smtp", "mailotp-imap", "mailotpctl")]
    found = (*programs.values(), *modules)
    return (*found, *libraries(*found, *ours))


class Root:
    def __init__(self, tools):
        self.folder = tempfile.mkdtemp(prefix="mailotp-", dir="/tmp")
        os.chmod(self.folder, 0o755)  # the daemon runs as a user of its own
        for name in ("usr/bin", "usr/sbin", "usr/lib64", "usr/lib/systemd", "etc", "proc", "dev", "run", "var/lib/dpkg/info",
                     "var/lib/dpkg/updates", "var/log", "usr/share"):
            os.makedirs(self.path(name), exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            os.symlink("usr/" + name, self.path(name))
        os.mkdir(self.path("tmp"))
        os.chmod(self.path("tmp"), 0o1777)
        self._touch("dev/null")
        for path in parts(tools):
            self._copy(path)
        for path in (*glob.glob("/usr/lib/*/perl-base"), "/usr/share/perl5/Debian", "/usr/lib/systemd/system"):
            shutil.copytree(path, self.path(path), symlinks=True, dirs_exist_ok=True)
        self._accounts()
        self._records()

    def path(self, name):
        return os.path.join(self.folder, name.lstrip("/"))

    def _touch(self, name, text=""):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def _copy(self, path):
        """With every link on the way to the file."""
        target = self.path(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            return
        if os.path.islink(path):
            os.symlink(os.readlink(path), target)
            self._copy(os.path.join(os.path.dirname(path), os.readlink(path)))
        else:
            shutil.copy2(path, target)

    def _accounts(self):
        self._touch("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self._touch("etc/group", "root:x:0:\nnogroup:x:65534:\n")
        self._touch("etc/shadow", "root:*:19000:0:99999:7:::\n")
        self._touch("etc/gshadow", "root:*::\nnogroup:*::\n")
        os.mkdir(self.path("etc/pam.d"))
        self._touch("etc/pam.d/other", "auth sufficient pam_rootok.so\naccount sufficient pam_permit.so\n"
                                       "session sufficient pam_permit.so\n")
        for name in ("etc/login.defs", "etc/adduser.conf", "etc/nsswitch.conf"):
            if os.path.exists("/" + name):
                shutil.copy2("/" + name, self.path(name))

    def _records(self):
        with open("/var/lib/dpkg/status", encoding="utf-8") as status:
            packages = [one for one in status.read().split("\n\n") if not one.startswith("Package: mailotpd\n")]
        self._touch("var/lib/dpkg/status", "\n\n".join(packages))
        # What the others consist of does not matter here, and dpkg would read it each time.
        for name in glob.glob("/var/lib/dpkg/info/*.list"):
            if os.path.basename(name) != "mailotpd.list":
                self._touch("var/lib/dpkg/info/" + os.path.basename(name))

    def outside(self, *command):
        """The command on this machine, with what a running root has mounted."""
        return ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", self.folder, *command]

    def inside(self, *command, user="root:root"):
        return self.outside("chroot", "--userspec=" + user, self.folder, *command)

    def dpkg(self, *words):
        """What dpkg did and printed; raises when it failed."""
        # A small machine may leave out manuals and documents (dpkg.cfg.d): not here.
        all_of_it = ["--path-include=/usr/share/man/*", "--path-include=/usr/share/doc/*"]
        done = run(*self.outside("dpkg", "--root=" + self.folder, "--force-unsafe-io", *all_of_it, *words))
        if done.returncode != 0:
            raise AssertionError(f"dpkg {words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def account(self, name, kind="passwd"):
        """Its number, or None."""
        with open(self.path("etc/" + kind), encoding="utf-8") as file:
            fields = [line.split(":") for line in file]
        return next((int(one[2]) for one in fields if one[0] == name), None)

    def mode(self, name):
        """As ls prints it: owner, group, and the mode in octal."""
        status = os.stat(self.path(name))
        names = []
        for kind, number in (("passwd", status.st_uid), ("group", status.st_gid)):
            with open(self.path("etc/" + kind), encoding="utf-8") as file:
                names += [line.split(":")[0] for line in file if int(line.split(":")[2]) == number]
        return (*names, oct(status.st_mode & 0o7777)[2:])

    def files(self):
        """Every file and link, but what dpkg, the tools for accounts and the logs keep for themselves."""
        kept = tuple(self.path(name) for name in ("var/lib/dpkg/", "var/log/", "var/backups/"))
        found = {os.path.join(top, name) for top, _, names in os.walk(self.folder) for name in names}
        found |= {os.path.join(top, name) for top, names, _ in os.walk(self.folder) for name in names
                  if os.path.islink(os.path.join(top, name)) or "mailotp" in name}
        ours = ("passwd-", "group-", "shadow-", "gshadow-", ".pwd.lock", ".updated", "subuid", "subgid")
        return {path for path in found if not path.startswith(kept) and os.path.basename(path) not in ours}

    def destroy(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class InstalledDaemon(Daemon):
    """The daemon of the package, in its root, as its user, with /etc/mailotpd/mailotpd.toml. The root is not its own."""

    def __init__(self, root):  # pylint: disable=super-init-not-called  # that one makes a folder
        self.root = root
        self.folder = root.folder
        self.state = root.path("var/lib/mailotpd")
        self.key = root.path("etc/mailotpd/otp.key")
        self.config = root.path("etc/mailotpd/mailotpd.toml")
        self.api_socket = root.path("run/mailotpd/api.sock")
        self.admin_socket = root.path("run/mailotpd/admin.sock")
        self.mails = root.path("var/lib/mailotpd/captured")
        self.log_path = root.path("var/log/mailotpd")
        self.process = None
        self.agents = set()
        self._mails = {}

    def command(self, *more):
        return self.root.inside("/usr/sbin/mailotpd", "--config", "/etc/mailotpd/mailotpd.toml", *more,
                                user="mailotpd:mailotpd")

    def ctl(self, *words):
        return run(*self.root.inside("/usr/bin/mailotpctl", *words))


if __name__ == "__main__":
    raise SystemExit("package_root.py is no test")
