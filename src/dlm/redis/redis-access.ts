import { isIP } from "node:net";
import type { ConnectionOptions as TlsOptions } from "node:tls";
import { readPemFile, readSecretFile } from "../../env/secret-file.ts";
import type { HostPort, RedisPlace, RedisTls } from "./redis-url.ts";

/** How to be let in. Read anew for every connection, so that passwords and certificates can be replaced while we run. */
export interface RedisAccess {
  readonly username: string | null;
  readonly password: string | null;
  readonly sentinelPassword: string | null;
  readonly tls: TlsOptions | null;
}

/** Throws E_VALUE or E_PERMISSION for a file that cannot be read or that others can read. */
export function readAccess(place: RedisPlace): RedisAccess {
  const { username, password, passwordFile, sentinelPasswordFile, tls } = place;
  return {
    username,
    password: passwordFile === null ? password : readSecretFile(passwordFile, "password file"),
    sentinelPassword:
      sentinelPasswordFile === null ? null : readSecretFile(sentinelPasswordFile, "password file of the sentinels"),
    tls: tls === null ? null : readTls(tls),
  };
}

function readTls({ ca, cert, key, serverName }: RedisTls): TlsOptions {
  return {
    minVersion: "TLSv1.2",
    ...(ca === null ? {} : { ca: readPemFile(ca, "CA file") }),
    ...(cert === null ? {} : { cert: readPemFile(cert, "certificate") }),
    ...(key === null ? {} : { key: readSecretFile(key, "key file") }),
    ...(serverName === null ? {} : { servername: serverName }),
  };
}

/** The name that the certificate must carry: as configured, or the host; an address is no name to ask for. */
export function tlsTo(tls: TlsOptions | null, at: HostPort | { readonly path: string }): TlsOptions | null {
  if (tls === null || tls.servername !== undefined || !("host" in at) || isIP(at.host) !== 0) return tls;
  return { ...tls, servername: at.host };
}
