"""What the scripts beside this file share: the proxies, their configurations, and how they are started, loaded and measured."""
import os, pathlib, re, shutil, signal, subprocess, sys, tempfile, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORIGIN, FIRST_PORT = 18180, 18181
BODY = "x" * 1024

NGINX = """
worker_processes 1; daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {more} }}
"""
ORIGIN_MORE = 'server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 "{body}"; }} }}'
PROXY_MORE = """
upstream o {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port};
  location /api/ {{ proxy_pass http://o/; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
"""
HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
  timeout http-keep-alive 75s
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  http-request replace-path /api(/.*) \\1
  default_backend o
backend o
{servers}
"""
OURS = """
[server]
listen = ["127.0.0.1:{port}"]
workers = {workers}
[access_log]
format = "off"
[request_id]
enabled = {extras}
[forwarded]
x_forwarded = {extras}
via = {extras}
[upstreams.o]
servers = [{servers}]
[routes.api]
path = "/api"
upstream = "o"
strip_prefix = "/api"
[routes.api.response]
response_time = false
"""


def install():
    missing = [tool for tool in ("haproxy", "nginx", "wrk", "taskset") if not shutil.which(tool)]
    if missing:
        packages = ["util-linux" if tool == "taskset" else tool for tool in missing]
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*sudo, "apt-get", "install", "-y", "--no-install-recommends", *packages], check=True)
    subprocess.run(["cargo", "build", "--release", "--example", "gateway"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release/examples/gateway"


def tree(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in tree(int(child)))]


def cpu_nanoseconds(pid):
    return sum(int(stat.read_text().split()[0]) for own in tree(pid) for stat in pathlib.Path(f"/proc/{own}/task").glob("*/schedstat"))


def memory_kib(pid):
    rollups = (pathlib.Path(f"/proc/{own}/smaps_rollup").read_text() for own in tree(pid))
    return sum(int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) for rollup in rollups)


def start(command, cpu, port):
    process = subprocess.Popen(["taskset", "-c", str(cpu), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/x", timeout=1)
            return process
        except urllib.error.HTTPError:
            return process
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{command[0]} does not start")
            time.sleep(0.1)
    sys.exit(f"{command[0]} does not answer")


def load(port, seconds, connections, path="/api/users/42", headers=(), quantile="99%"):
    url = f"http://127.0.0.1:{port}{path}"
    more = [word for header in headers for word in ("-H", header)]
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *more, url]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in report or "Socket errors" in report:
        sys.exit(report)
    return int(re.search(r"(\d+) requests in", report)[1]), re.search(quantile + r"\s+(\S+)", report)[1]


def cpu_per_request(pid, *arguments, **options):
    """Microseconds of CPU for each request of a load, their number, and a quantile of their latency."""
    before = cpu_nanoseconds(pid)
    requests, latency = load(*arguments, **options)
    return (cpu_nanoseconds(pid) - before) / 1000 / requests, requests, latency


class Lab:
    """A folder of configurations and the processes started from it, which end with it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        # nginx's workers are another user, and are to serve files from it.
        os.chmod(self.folder.name, 0o755)
        self.processes = []
        self.ports = iter(range(FIRST_PORT, FIRST_PORT + 40))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=40)
        self.folder.cleanup()

    def file(self, name, text):
        path = pathlib.Path(self.folder.name, name)
        path.write_text(text)
        return path

    def nginx(self, name, more):
        config = self.file(f"{name}.conf", NGINX.format(dir=self.folder.name, name=name, more=more))
        return ["nginx", "-c", config, "-p", self.folder.name]

    def start(self, command, cpu, port):
        self.processes.append(start(command, cpu, port))
        return self.processes[-1].pid

    def origin(self, more=ORIGIN_MORE):
        self.start(self.nginx("origin", more.format(port=ORIGIN, body=BODY, dir=self.folder.name)), 1, ORIGIN)

    def haproxy(self, servers=(f"127.0.0.1:{ORIGIN}",)):
        at = next(self.ports)
        lines = "\n".join(f"  server o{number} {server}" for number, server in enumerate(servers))
        return self.start(["haproxy", "-f", self.file(f"haproxy{at}.cfg", HAPROXY.format(port=at, servers=lines))], 0, at), at

    def nginx_proxy(self):
        at = next(self.ports)
        return self.start(self.nginx(f"nginx{at}", PROXY_MORE.format(port=at, origin=ORIGIN)), 0, at), at

    def gateway(self, binary, cpu=0, workers=1, extras="false", more="", servers=(f"127.0.0.1:{ORIGIN}",)):
        at = next(self.ports)
        servers = ", ".join(f'"http://{server}"' for server in servers)
        text = OURS.format(port=at, extras=extras, workers=workers, servers=servers) + more
        return self.start([binary, "--config", self.file(f"ours{at}.toml", text)], cpu, at), at
