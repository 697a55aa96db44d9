# Makes of a bare Debian 12 an instance of an Atoll cluster. The lines above hold its settings.
#
# Run by cloud-init as root. Where systemd runs, the agent becomes a service and this ends; where it
# does not (a container), the agent runs under this script, which then never ends. An image that has
# Atoll in /opt/atoll already starts in seconds: nothing is installed.
#
# What fails ends the machine: the cluster sees it at once and launches another, and the last lines
# of the log are on the console.
set -eu
umask 022

CODE=/opt/atoll
STATE=/var/lib/atoll
LOG=/var/log/atoll-boot.log
PYTHON=$CODE/bin/python
TRIES=5
export DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8

is_with_systemd() { [ -d /run/systemd/system ]; }

say() {
  echo "atoll: $(date -u +%H:%M:%S) $*" | tee -a "$LOG"
  if is_with_systemd && [ -w /dev/console ]; then echo "atoll: $*" >/dev/console; fi
}

begin() { STEP=$1; say "$STEP"; }

ended() {
  status=$?
  trap - EXIT
  [ "$status" -ne 0 ] || exit 0
  say "FAILED with status $status to $STEP; this machine ends"
  if is_with_systemd; then
    tail -n 30 "$LOG" >/dev/console || true
    shutdown -h now
  fi
  exit "$status"
}

# Registries and networks have bad moments; each try is logged.
tried() {
  try=1
  until "$@" >>"$LOG" 2>&1; do
    if [ "$try" -ge "$TRIES" ]; then
      tail -n 15 "$LOG"
      return 1
    fi
    say "try $try failed: $1 $2; again in $((try * 3)) s"
    sleep $((try * 3))
    try=$((try + 1))
  done
}

install_system() {
  tried apt-get -q update
  tried apt-get -q install -y --no-install-recommends \
    openjdk-17-jre-headless python3 python3-venv ca-certificates e2fsprogs util-linux
}

install_atoll() {
  tried python3 -m venv "$CODE"
  case $ATOLL_PACKAGE_URL in
    s3://*) fetch_wheel ;;
  esac
  tried "$CODE/bin/pip" install --no-input --disable-pip-version-check "$ATOLL_PACKAGE"
}

fetch_wheel() {
  tried "$CODE/bin/pip" install --no-input --disable-pip-version-check boto3
  tried "$PYTHON" -c 'import sys, boto3
bucket, _, key = sys.argv[1].removeprefix("s3://").partition("/")
boto3.client("s3", region_name=sys.argv[2] or None).download_file(bucket, key, sys.argv[3])' \
    "$ATOLL_PACKAGE_URL" "$ATOLL_REGION" "$STATE/${ATOLL_PACKAGE_URL##*/}"
}

is_installed() { "$PYTHON" -c 'import atoll.fleet.agent.agent' >/dev/null 2>&1; }

# Whatever ends takes its daemons with it, and the agent starts them anew: two of a kind would fight
# for one port.
write_unit() {
  cat >/etc/systemd/system/atoll-agent.service <<EOF
[Unit]
Description=Agent of an Atoll cluster
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
Environment=LANG=C.UTF-8 PYTHONUNBUFFERED=1 AWS_DEFAULT_REGION=$ATOLL_REGION
ExecStartPre=$PYTHON -m atoll.fleet.providers.ec2.boot $STATE
ExecStart=$PYTHON -m atoll.fleet.agent $STATE/facts.json
Restart=always
RestartSec=2
KillMode=control-group
TimeoutStopSec=10
LimitNOFILE=65536
TasksMax=infinity
OOMPolicy=continue
StandardOutput=append:/var/log/atoll-agent.log
StandardError=inherit

[Install]
WantedBy=multi-user.target
EOF
}

run_without_systemd() {
  export PYTHONUNBUFFERED=1 AWS_DEFAULT_REGION="$ATOLL_REGION"
  trap 'kill "$agent" 2>/dev/null; exit 0' TERM INT
  while :; do
    "$PYTHON" -m atoll.fleet.providers.ec2.boot "$STATE"
    "$PYTHON" -m atoll.fleet.agent "$STATE/facts.json" >>"$LOG" 2>&1 &
    agent=$!
    wait "$agent" || true
    say "the agent ended; it starts again"
    sleep 2
  done
}

STEP=begin
trap ended EXIT
mkdir -p "$STATE"
chmod 700 "$STATE"

if is_installed; then
  say "Atoll is there already"
else
  begin "install Java and Python"
  install_system
  begin "install Atoll"
  install_atoll
fi

begin "write what the cluster wants of this machine"
echo "$ATOLL_USER_DATA" | base64 -d | gunzip >"$STATE/user-data.json"

if is_with_systemd; then
  begin "start the agent as a service"
  write_unit
  systemctl daemon-reload
  systemctl enable --now atoll-agent.service
  say "the agent runs"
else
  begin "run the agent without systemd"
  run_without_systemd
fi
