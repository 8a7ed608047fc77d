import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { MdError } from "../../base/md-error.ts";
import type { Clock } from "../../env/clock.ts";
import type { Env } from "../../env/env.ts";
import type { TlsFiles } from "./socket-address.ts";

/** What `tls.createServer` and `tls.connect` take. */
export interface TlsIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** An expired certificate is an outage of every node at once: it is told long before. */
const WARN_DAYS = 14;
const DAY_MS = 86_400_000;

/**
 * Reads the three files, each time anew, so that a renewed certificate is used from the next connection on. E_VALUE
 * names a file that cannot be read or is not what it should be, E_PERMISSION a key that others can read or a
 * certificate that is not valid now.
 */
export function readTlsFiles(files: TlsFiles, { clock, log }: Pick<Env, "clock" | "log">): TlsIdentity {
  const [ca, cert, key] = [read(files.ca), read(files.cert), read(files.key)];
  if ((statSync(files.key).mode & 0o077) !== 0) {
    throw new MdError("E_PERMISSION", `the key ${files.key} can be read by others`, { hint: `chmod 600 ${files.key}` });
  }
  parse(files.ca, "a CA certificate", () => new X509Certificate(ca));
  const own = parse(files.cert, "a certificate", () => new X509Certificate(cert));
  const ownKey = parse(files.key, "a private key without a passphrase", () => createPrivateKey(key));
  if (!own.checkPrivateKey(ownKey)) {
    throw new MdError("E_VALUE", `the key ${files.key} is not the one of the certificate ${files.cert}`);
  }
  const left = daysLeft(files.cert, own, clock);
  if (left < WARN_DAYS) {
    const text = `the certificate ${files.cert} expires in ${Math.floor(left)} days`;
    log.warn({ evt: "certificate_expires", path: files.cert, days: Math.floor(left) }, text);
  }
  return { ca, cert, key };
}

function daysLeft(path: string, { validFrom, validTo }: X509Certificate, clock: Clock): number {
  const now = clock.wall();
  const end = timeOf(validTo);
  if (end > now && timeOf(validFrom) <= now) return (end - now) / DAY_MS;
  const why = end <= now ? `it expired: ${validTo}` : `its time begins ${validFrom}`;
  throw new MdError("E_PERMISSION", `the certificate ${path} is not valid now`, { why });
}

// biome-ignore lint/style/noRestrictedGlobals: reads a time that is given, no clock
const timeOf = (text: string): number => Date.parse(text);

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new MdError("E_VALUE", `${path} cannot be read`, { cause: error, why: String(error) });
  }
}

function parse<T>(path: string, what: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new MdError("E_VALUE", `${path} is not ${what} in PEM form`, { cause: error });
  }
}
