import { isIP } from "node:net";
import { MdError } from "../../base/md-error.ts";

/** Paths of PEM files: whom to trust, and who we are. Contents never stand on a command line or in a configuration. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** As they were given; null: not at all. */
export type OptionalTlsFiles = { readonly [name in keyof TlsFiles]: string | null };

/** A lock server of our own in the network. Without TLS it is on this host. */
export interface NetAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles | null;
}

/** `tls://10.0.0.5:7100`, `tcp://127.0.0.1:7100`. */
export const netAddressText = ({ host, port, tls }: NetAddress): string =>
  `${tls === null ? "tcp" : "tls"}://${host.includes(":") ? `[${host}]` : host}:${port}`;

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/**
 * Reads `tls://HOST:PORT` or `tcp://HOST:PORT`, behind `prefix`. `files` are the three paths as they were given; TLS
 * needs all of them, TCP none. E_VALUE; E_USAGE for credentials inside the URL; E_PERMISSION for plain TCP beyond
 * this host: whoever can send there could take every lock.
 */
export function readNetAddress(
  option: string,
  text: string,
  prefix: "" | "mdctl+",
  files: OptionalTlsFiles,
): NetAddress {
  const bad = (why: string): MdError =>
    new MdError("E_VALUE", `${option}: this is no address of a lock server: ${why}`, {
      hint: `${prefix}tls://HOST:PORT`,
    });
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw bad("it cannot be parsed");
  }
  if (url.username !== "" || url.password !== "") {
    throw new MdError("E_USAGE", `${option}: a lock server of our own knows no passwords`, {
      why: "nodes are known by their certificates",
      hint: `${prefix}tls://HOST:PORT`,
    });
  }
  const scheme = url.protocol.slice(0, -1);
  if (scheme !== `${prefix}tls` && scheme !== `${prefix}tcp`) throw bad(`unknown scheme ${scheme}`);
  if (url.hostname === "" || url.port === "") throw bad("it takes a host and a port");
  if ((url.pathname !== "" && url.pathname !== "/") || url.search !== "" || url.hash !== "") {
    throw bad("nothing may follow the port");
  }
  const address = { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port) };
  if (scheme === `${prefix}tls`) return { ...address, tls: allFiles(option, files) };
  if (isLoopback(address.host)) return { ...address, tls: null };
  throw new MdError("E_PERMISSION", `${option}: plain TCP is for this host only, ${address.host} is not`, {
    why: "whoever can send there could take every lock",
    hint: `${prefix}tls://${url.host}`,
  });
}

function allFiles(option: string, files: OptionalTlsFiles): TlsFiles {
  const { ca, cert, key } = files;
  if (ca !== null && cert !== null && key !== null) return { ca, cert, key };
  const missing = Object.entries(files).flatMap(([name, path]) => (path === null ? [name] : []));
  throw new MdError(
    "E_USAGE",
    `${option}: TLS needs a CA, a certificate and its key, and ${missing.join(", ")} is missing`,
    {
      why: "both ends show a certificate",
    },
  );
}
