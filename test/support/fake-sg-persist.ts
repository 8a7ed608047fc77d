import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface Reservations {
  /** Key by host. */
  registered: Record<string, string>;
  holder: string | null;
}

/**
 * A `sg_persist` for files: it takes the options of the real one and keeps what a SCSI device would, in a folder beside the
 * member. Which host asks, the environment says (FAKE_HOST). After SPC-4: type 5, write exclusive, registrants only.
 */
const program = String.raw`#!/bin/sh
in= out= cmd= rk=0 sark=0 device=
for arg; do
  case $arg in
    --version) echo "sg_persist: version: fake" >&2; exit 0;;
    --no-inquiry|--prout-type=5) ;;
    --in) in=1;; --out) out=1;;
    --read-keys|--read-reservation|--register|--register-ignore|--reserve|--preempt-abort) cmd=$arg;;
    --param-rk=*) rk=$(echo "$arg" | sed 's/.*=0*//');;
    --param-sark=*) sark=$(echo "$arg" | sed 's/.*=0*//');;
    -*) echo "unrecognized option $arg" >&2; exit 1;;
    *) device=$arg;;
  esac
done
[ -n "$device" ] || { echo "no device" >&2; exit 1; }
at=$device.pr
[ ! -e "$at/refuses" ] || { echo "PR: Illegal request, command not supported" >&2; exit 9; }
mkdir -p "$at/keys"
host=$FAKE_HOST
mine=$(cat "$at/keys/$host" 2>/dev/null)
holder=$(cat "$at/holder" 2>/dev/null)
conflict() { echo "PR out: Reservation conflict" >&2; exit 24; }
case $in$out$cmd in
  1--read-keys)
    n=$(ls "$at/keys" | wc -l)
    case $n in
      0) echo "  PR generation=0x1, there are NO registered reservation keys";;
      1) echo "  PR generation=0x1, 1 registered reservation key follows:";;
      *) echo "  PR generation=0x1, $n registered reservation keys follow:";;
    esac
    for file in "$at"/keys/*; do [ ! -e "$file" ] || echo "    0x$(cat "$file")"; done;;
  1--read-reservation)
    if [ -z "$holder" ]; then echo "  PR generation=0x1, there is NO reservation held"
    else printf '  PR generation=0x1, Reservation follows:\n    Key=0x%s\n    scope: LU_SCOPE,  type: Write Exclusive, registrants only\n' "$holder"; fi;;
  1--register|1--register-ignore)
    [ "$cmd" = --register-ignore ] || [ "$rk" = "$mine" ] || conflict
    [ -z "$mine" ] || [ "$holder" != "$mine" ] || printf %s "$sark" >"$at/holder"
    if [ -n "$sark" ]; then printf %s "$sark" >"$at/keys/$host"; else rm -f "$at/keys/$host"; fi;;
  1--reserve)
    [ -n "$mine" ] && [ "$rk" = "$mine" ] || conflict
    [ -z "$holder" ] || [ "$holder" = "$mine" ] || conflict
    printf %s "$mine" >"$at/holder";;
  1--preempt-abort)
    [ -n "$mine" ] && [ "$rk" = "$mine" ] || conflict
    grep -qx "$sark" "$at"/keys/* || conflict
    for file in "$at"/keys/*; do [ "$(cat "$file")" != "$sark" ] || rm "$file"; done
    [ "$holder" != "$sark" ] || printf %s "$mine" >"$at/holder";;
  *) exit 1;;
esac
`;

export class FakeSgPersist {
  readonly #path = process.env["PATH"];

  /** From now on it is what PATH finds first. */
  constructor(folder: string) {
    const path = join(folder, "sg_persist");
    writeFileSync(path, program);
    chmodSync(path, 0o755);
    process.env["PATH"] = `${folder}:${this.#path}`;
  }

  as(host: string): void {
    process.env["FAKE_HOST"] = host;
  }

  stateOf(device: string): Reservations {
    const text = (name: string): string => readFileSync(join(`${device}.pr`, name), "latin1");
    const hosts = readdirSync(join(`${device}.pr`, "keys"));
    const holder = existsSync(join(`${device}.pr`, "holder")) ? text("holder") : "";
    return {
      registered: Object.fromEntries(hosts.map((host) => [host, text(`keys/${host}`)])),
      holder: holder === "" ? null : holder,
    };
  }

  /** The device takes no such commands. */
  refuse(device: string): void {
    mkdirSync(`${device}.pr`, { recursive: true });
    writeFileSync(join(`${device}.pr`, "refuses"), "");
  }

  remove(): void {
    process.env["PATH"] = this.#path;
    delete process.env["FAKE_HOST"];
  }
}
