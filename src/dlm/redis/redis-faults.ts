import { MdError, type MdErrorCode } from "../../base/md-error.ts";

/** What an answer or the end of a connection means, in words. */
interface Fault {
  readonly code: MdErrorCode;
  readonly why: string;
  readonly hint?: string;
}

/** By the first word of an error reply. `lost`: it may pass; the call is repeated. */
const replies: Readonly<Record<string, Fault>> = {
  BUSY: lost("it is busy with a script that does not end", "redis-cli script kill; redis-cli function kill"),
  OOM: lost("its memory is full", "redis-cli config set maxmemory BYTES"),
  MISCONF: lost("it cannot write to its disk and takes no writes", "redis-cli info persistence"),
  READONLY: lost("it has become a replica", "give the URL of the master, or of the sentinels"),
  MASTERDOWN: lost("it is a replica whose master is down"),
  UNBLOCKED: lost("it has become a replica"),
  NOREPLICAS: lost("it has fewer replicas than min-replicas-to-write", "redis-cli info replication"),
  LOADING: lost("it is still loading its data"),
  CLUSTERDOWN: lost("its cluster is down: slots are not served", "redis-cli cluster info"),
  MOVED: lost("its cluster has given the keys to another node"),
  ASK: lost("its cluster is moving the keys to another node"),
  TRYAGAIN: lost("its cluster is moving the keys to another node"),
  NOAUTH: denied("it wants a password", "passwordfile=FILE"),
  WRONGPASS: denied("it does not accept the user name or the password", "redis-cli acl list"),
  NOPERM: denied("the user lacks rights", "docs/redis.md has the ACL rule"),
  NOPROTO: { code: "E_PROTOCOL_VERSION", why: "it does not speak RESP2" },
};

/** By the code of an error of the socket or of TLS. */
const sockets: Readonly<Record<string, Fault>> = {
  ECONNREFUSED: lost("nothing listens there"),
  ECONNRESET: lost("it ended the connection"),
  EPIPE: lost("it ended the connection"),
  ENOENT: lost("there is no such socket"),
  ENOTFOUND: lost("its host name is not known"),
  EAI_AGAIN: lost("its host name cannot be looked up now"),
  EHOSTUNREACH: lost("there is no way to its host"),
  ENETUNREACH: lost("there is no way to its network"),
  ETIMEDOUT: lost("it does not answer"),
  CERT_HAS_EXPIRED: denied("its certificate has expired", "openssl x509 -enddate -noout -in CERT"),
  CERT_NOT_YET_VALID: denied("its certificate is not valid yet", "openssl x509 -startdate -noout -in CERT"),
  ERR_TLS_CERT_ALTNAME_INVALID: denied("its certificate is for another host name", "servername=NAME, if that is right"),
  SELF_SIGNED_CERT_IN_CHAIN: wrongCa(),
  DEPTH_ZERO_SELF_SIGNED_CERT: wrongCa(),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: wrongCa(),
  UNABLE_TO_GET_ISSUER_CERT: wrongCa(),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: wrongCa(),
  CERT_SIGNATURE_FAILURE: wrongCa(),
  CERT_REVOKED: denied("its certificate is revoked"),
  ERR_SSL_WRONG_VERSION_NUMBER: denied("it does not speak TLS", "use redis://, or its tls-port"),
  ERR_SSL_PACKET_LENGTH_TOO_LONG: denied("it does not speak TLS", "use redis://, or its tls-port"),
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: denied("it wants a certificate of ours", "cert=FILE and key=FILE"),
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: denied("it does not accept our certificate", "cert=FILE and key=FILE of its CA"),
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: denied("our certificate has expired"),
};

function lost(why: string, hint?: string): Fault {
  return hint === undefined ? { code: "E_LOCK_SERVICE_LOST", why } : { code: "E_LOCK_SERVICE_LOST", why, hint };
}

function denied(why: string, hint?: string): Fault {
  return hint === undefined ? { code: "E_PERMISSION", why } : { code: "E_PERMISSION", why, hint };
}

function wrongCa(): Fault {
  return denied("its certificate is not signed by a CA that we trust", "ca=FILE with the CA that signed it");
}

/** After these the connection leads to the wrong server, or may: a new one is made. */
const movesOn = new Set(["READONLY", "MASTERDOWN", "UNBLOCKED", "LOADING", "CLUSTERDOWN", "MOVED", "ASK", "NOAUTH"]);

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The first word of an error reply: BUSY, OOM, MOVED, ERR. */
export const replyWord = (error: unknown): string => /^[A-Z]+/.exec(textOf(error))?.[0] ?? "";

export const leadsElsewhere = (error: unknown): boolean => movesOn.has(replyWord(error));

/**
 * An error of ioredis as people should read it. A wrong password or certificate has a code of its own: waiting does not
 * cure it. Everything else is "no answer", with the reason in words.
 */
export function serverFault(about: string, error: unknown): MdError {
  if (error instanceof MdError) return error;
  const text = textOf(error);
  const socketCode = String((error as { readonly code?: unknown } | null)?.code ?? "");
  const fault = sockets[socketCode] ?? replies[replyWord(error)] ?? byText(text);
  const first =
    fault.code === "E_LOCK_SERVICE_LOST"
      ? `the lock server ${about} does not answer`
      : `the lock server ${about} and this node do not accept each other`;
  const why = text === fault.why || text === "" ? fault.why : `${fault.why} (${text.slice(0, 300)})`;
  return new MdError(
    fault.code,
    first,
    fault.hint === undefined ? { why, cause: error } : { why, hint: fault.hint, cause: error },
  );
}

function byText(text: string): Fault {
  if (/timed? ?out/i.test(text)) return lost("it does not answer in time");
  if (text.includes("user executing the script")) return replies["NOPERM"] ?? lost(text);
  if (text === "Connection is closed.") return lost("the connection ended");
  if (/alert certificate required/i.test(text))
    return sockets["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"] ?? lost(text);
  return lost(text === "" ? "the connection ended" : text);
}
