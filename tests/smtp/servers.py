"""Private mail servers in a temporary folder on 127.0.0.1: Postfix for submission, Dovecot for SASL, LMTP
and IMAP, and a CA of their own. They run as root, as Postfix and Dovecot must; nothing of the system's own
instances is touched. Every wait has a bound; stop() ends every process that was started.
"""
import imaplib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BOUND = 60.0
PASSWORD = "s3cret-of-the-test"
SERVER_NAME = "relay.test"


def wait_for(condition, what, bound=BOUND):
    """The first true value of condition(); fails with `what` after `bound` seconds."""
    end = time.monotonic() + bound
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound:.0f} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def free_ports(count):
    """Ports on 127.0.0.1 that nobody has right now, below the range from which the kernel takes those of
    outgoing connections: one of them cannot slip in before the server listens."""
    ports = []
    while len(ports) < count:
        port = random.randrange(12000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_folder(prefix):
    """A temporary folder that the servers' own users may enter."""
    folder = tempfile.mkdtemp(prefix=prefix)
    os.chmod(folder, 0o755)
    return folder


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(path, mode)
    return path


class Authority:
    """A CA and what it signs; `folder` keeps NAME.pem (chain and key)."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.name = name
        self.file = os.path.join(folder, f"{name}.pem")
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name} of the tests",
                  "-days", "2", "-keyout", self._path("key"), "-out", self.file)

    def _path(self, ending):
        return os.path.join(self.folder, f"{self.name}.{ending}")

    def _run(self, *words):
        subprocess.run(["openssl", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                       timeout=BOUND)

    def server(self, file_name, host=SERVER_NAME, expired=False, self_signed=False):
        """PEM file with key and certificate for `host`."""
        base = os.path.join(self.folder, file_name)
        extensions = write(base + ".ext", f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n")
        self._run("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}",
                  "-keyout", base + ".key", "-out", base + ".csr")
        if self_signed:
            self._run("x509", "-req", "-in", base + ".csr", "-signkey", base + ".key", "-days", "2",
                      "-extfile", extensions, "-out", base + ".crt")
        elif expired:
            self._sign_expired(base, extensions)
        else:
            self._run("x509", "-req", "-in", base + ".csr", "-CA", self.file, "-CAkey", self._path("key"),
                      "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", base + ".crt")
        pem = base + ".pem"
        with open(pem, "wb") as out:
            for part in (base + ".key", base + ".crt"):
                with open(part, "rb") as part_file:
                    out.write(part_file.read())
        return pem

    def _sign_expired(self, base, extensions):
        config = write(base + ".cnf", f"""
[ca]
default_ca = here
[here]
database = {base}.db
serial = {base}.serial
new_certs_dir = {self.folder}
default_md = sha256
policy = any
[any]
commonName = supplied
""")
        write(base + ".db", "")
        write(base + ".serial", "4242\n")
        self._run("ca", "-batch", "-notext", "-config", config, "-cert", self.file, "-keyfile",
                  self._path("key"), "-in", base + ".csr", "-out", base + ".crt", "-extfile", extensions,
                  "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")


class Process:
    """A server in the foreground, in a session of its own; its output goes to a file."""

    def __init__(self, words, log):
        self.log = log
        with open(log, "wb") as out:
            self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=subprocess.STDOUT, start_new_session=True)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()[-4000:]

    def wait_until(self, condition, what):
        def checked():
            if self.child.poll() is not None:
                raise AssertionError(f"{what}: ended with {self.child.returncode}\n{self.text()}")
            return condition()
        wait_for(checked, lambda: f"{what}\n{self.text()}")

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                pass
        # What it left behind in its session.
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait(10)


class Dovecot:
    """SASL and LMTP on Unix sockets, IMAP on a port; any user, one password."""

    def __init__(self, folder, password=PASSWORD):
        self.folder = os.path.join(folder, "dovecot")
        self.mail = os.path.join(self.folder, "mail")
        for part in (self.folder, os.path.join(self.folder, "run"), os.path.join(self.folder, "state")):
            os.makedirs(part, mode=0o755, exist_ok=True)
        os.makedirs(self.mail, exist_ok=True)
        os.chmod(self.mail, 0o777)
        self.password = password
        (self.imap_port,) = free_ports(1)
        self.auth_socket = os.path.join(self.folder, "auth")
        self.lmtp_socket = os.path.join(self.folder, "lmtp")
        self.process = None

    def start(self):
        config = write(os.path.join(self.folder, "dovecot.conf"), f"""
protocols = imap lmtp
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_cache_size = 1M
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{self.mail}/%n
mailbox_list_index = no
passdb {{
  driver = static
  args = password={self.password}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={self.mail}/%n allow_all_users=yes
}}
service auth {{
  unix_listener {self.auth_socket} {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener {self.lmtp_socket} {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
""")
        self.process = Process(["dovecot", "-F", "-c", config], os.path.join(self.folder, "out"))
        self.process.wait_until(
            lambda: os.path.exists(self.auth_socket) and os.path.exists(self.lmtp_socket)
            and accepts(self.imap_port), "dovecot listens")
        return self

    def stop(self):
        if self.process:
            self.process.stop()

    def mails(self, user):
        """The raw bytes of every mail in the user's INBOX, oldest first."""
        with imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=BOUND) as imap:
            imap.login(user, self.password)
            imap.select("INBOX", readonly=True)
            numbers = imap.search(None, "ALL")[1][0].split()
            if not numbers:
                return []
            parts = imap.fetch(b",".join(numbers), "(BODY.PEEK[])")[1]
            return [part[1] for part in parts if isinstance(part, tuple)]

    def wait_for_mails(self, user, count):
        wait_for(lambda: len(self.mails(user)) >= count, lambda: f"{count} mails for {user}")
        return self.mails(user)


class Postfix:
    """Submission with STARTTLS and AUTH on `submission_port`, the same over implicit TLS on
    `implicit_port`, without both on `plain_port`; delivers @example.test to `dovecot` by LMTP, or throws
    away when there is none.
    """

    def __init__(self, folder, certificate, dovecot=None, settings=None):
        self.folder = os.path.join(folder, "postfix")
        self.config = os.path.join(self.folder, "etc")
        for part in (self.config, os.path.join(self.folder, "queue"), os.path.join(self.folder, "data")):
            os.makedirs(part, mode=0o755, exist_ok=True)
        shutil.chown(os.path.join(self.folder, "data"), "postfix")
        self.submission_port, self.implicit_port, self.plain_port = free_ports(3)
        self.log = os.path.join(self.folder, "maillog")
        transport = "discard:"
        sasl = "no"
        if dovecot:
            transport = f"lmtp:unix:{dovecot.lmtp_socket}"
            sasl = "yes"
        options = {
            "compatibility_level": "3.6",
            "queue_directory": f"{self.folder}/queue",
            "data_directory": f"{self.folder}/data",
            "maillog_file": self.log,
            "maillog_file_prefixes": f"/var, /dev, {self.folder}",
            "myhostname": SERVER_NAME,
            "mydestination": "",
            "alias_maps": "",
            "local_recipient_maps": "",
            "virtual_mailbox_domains": "example.test",
            "virtual_mailbox_maps": "static:any",
            "virtual_transport": transport,
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "disable_dns_lookups": "yes",
            "smtpd_peername_lookup": "no",
            "smtpd_tls_chain_files": certificate,
            "smtpd_tls_security_level": "may",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": dovecot.auth_socket if dovecot else "private/auth",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
            "smtpd_recipient_restrictions": "permit",
            "smtpd_client_connection_count_limit": "0",
            "smtpd_client_connection_rate_limit": "0",
            "default_process_limit": "100",
            "in_flow_delay": "0",
            "smtpd_timeout": "60s",
        }
        options.update(settings or {})
        write(os.path.join(self.config, "main.cf"),
              "".join(f"{name} = {value}\n" for name, value in options.items()))
        auth = f"-o smtpd_sasl_auth_enable={sasl} -o smtpd_client_restrictions=" + (
            "permit_sasl_authenticated,reject" if dovecot else "permit")
        write(os.path.join(self.config, "master.cf"), f"""
127.0.0.1:{self.submission_port} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {auth}
127.0.0.1:{self.implicit_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {auth}
127.0.0.1:{self.plain_port} inet n - n - - smtpd -o smtpd_tls_security_level=none
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
""")
        self.process = None

    def start(self):
        self.process = Process(["postfix", "-c", self.config, "start-fg"], os.path.join(self.folder, "out"))
        self.process.wait_until(
            lambda: all(map(accepts, (self.submission_port, self.implicit_port, self.plain_port))),
            "postfix listens")
        return self

    def stop(self):
        if not self.process:
            return
        # The master's children are in groups of their own: only itself can end them.
        subprocess.run(["postfix", "-c", self.config, "stop"], check=False, timeout=BOUND,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process.stop()

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""


class MailSystem:
    """CA, Dovecot and Postfix together, as a context."""

    def __init__(self, settings=None):
        self.folder = make_folder("mailotp-servers-")
        self.authority = Authority(self.folder)
        self.certificate = self.authority.server("relay")
        self.dovecot = Dovecot(self.folder)
        self.postfix = Postfix(self.folder, self.certificate, self.dovecot, settings)

    def __enter__(self):
        try:
            self.dovecot.start()
            self.postfix.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.postfix.stop()
        self.dovecot.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
