#!/usr/bin/env bash
# A private MariaDB for the tests: its own data folder, a free port on loopback, no system service, any user or root.
#   mariadb.sh start DIR [PID]   prints mysql://waxwing:waxwing@127.0.0.1:PORT/waxwing (the user may create databases);
#                                with a PID, it stops and DIR is deleted when that process has ended
#   mariadb.sh stop DIR          stops it; DIR stays and can be started again
set -euo pipefail

command=${1:-} folder=${2:-} owner=${3:-}
if [[ ! $command =~ ^(start|stop)$ || -z $folder || ! $owner =~ ^[0-9]*$ ]]; then
  echo "usage: mariadb.sh start DIR [PID] | stop DIR" >&2
  exit 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
pid_file=$folder/mariadbd.pid

# One that was killed may stay in the table of processes until somebody has asked for its end: it is as good as gone.
runs() { kill -0 "$1" 2>/dev/null && [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) != Z* ]]; }
alive() { [[ -s $pid_file ]] && runs "$(<"$pid_file")"; }

if [[ $command == stop ]]; then
  if alive; then
    pid=$(<"$pid_file")
    kill "$pid"
    while runs "$pid"; do sleep 0.1; done
  fi
  exit 0
fi

find_program() {
  local found
  for found in "$(command -v "$1" || true)" "/usr/sbin/$1" "/usr/bin/$1" "/usr/libexec/$1"; do
    if [[ -n $found && -x $found ]]; then echo "$found"; return; fi
  done
  echo "$1 is not installed (on Debian and Ubuntu: apt install mariadb-server)" >&2
  return 1
}
server=$(find_program mariadbd)
client=$(find_program mariadb)
install=$(find_program mariadb-install-db)

if alive; then
  cat "$folder/url"
  exit 0
fi
# A socket's path has at most 107 bytes.
socket=$folder/socket
if ((${#socket} > 100)); then
  echo "the folder's path is too long for a socket: $folder" >&2
  exit 1
fi
user=$(id -un)
data=$folder/data
if [[ ! -d $data/mysql ]]; then
  if ! "$install" --no-defaults --user="$user" --datadir="$data" --auth-root-authentication-method=normal \
    --skip-test-db >"$folder/install.log" 2>&1; then
    rm -rf "$data"
    echo "MariaDB could not be set up; see $folder/install.log" >&2
    exit 1
  fi
fi

watch() {
  while kill -0 "$owner" 2>/dev/null; do sleep 0.5; done
  kill "$1" 2>/dev/null || true
  while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
  rm -rf "$folder"
}

# The port that it had before, else one that may be free: then try the next.
for try in 1 2 3 4 5; do
  port=$((20000 + RANDOM % 12000))
  if ((try == 1)) && [[ -s $folder/url ]]; then port=$(sed 's|.*:\([0-9]*\)/.*|\1|' "$folder/url"); fi
  rm -f "$socket" "$pid_file"
  setsid "$server" --no-defaults --user="$user" --datadir="$data" --socket="$socket" --pid-file="$pid_file" \
    --bind-address=127.0.0.1 --port="$port" --max-connections=500 --skip-log-bin --tmpdir="$folder" \
    >"$folder/server.log" 2>&1 </dev/null &
  started=$!
  for _ in $(seq 300); do
    if "$client" --no-defaults --user=root --socket="$socket" --execute="SELECT 1" >/dev/null 2>&1; then
      "$client" --no-defaults --user=root --socket="$socket" --execute="
        CREATE DATABASE IF NOT EXISTS waxwing CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
        CREATE USER IF NOT EXISTS waxwing@'127.0.0.1' IDENTIFIED BY 'waxwing';
        GRANT ALL ON *.* TO waxwing@'127.0.0.1';
        CREATE USER IF NOT EXISTS waxwing@localhost IDENTIFIED BY 'waxwing';
        GRANT ALL ON *.* TO waxwing@localhost;"
      echo "mysql://waxwing:waxwing@127.0.0.1:$port/waxwing" | tee "$folder/url"
      if [[ -n $owner ]]; then
        trap '' HUP INT
        watch "$started" >/dev/null 2>&1 </dev/null &
      fi
      exit 0
    fi
    kill -0 "$started" 2>/dev/null || break
    sleep 0.1
  done
  kill "$started" 2>/dev/null || true
  wait "$started" 2>/dev/null || true
done
echo "MariaDB did not start; see $folder/server.log" >&2
exit 1
