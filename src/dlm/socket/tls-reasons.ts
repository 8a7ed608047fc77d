/**
 * What OpenSSL and Node call the ways in which a peer's certificate fails, in words. `own` names the file that we judge
 * the peer by.
 */
export function certificateProblem(code: string, ca: string): string | null {
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return "its certificate has expired";
    case "CERT_NOT_YET_VALID":
      return "its certificate is not valid yet: compare the clocks of the two hosts";
    case "CERT_REVOKED":
      return "its certificate was revoked";
    case "INVALID_PURPOSE":
      return "its certificate is not made for this use (extendedKeyUsage)";
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "CERT_SIGNATURE_FAILURE":
    case "INVALID_CA":
      return `its certificate is not signed by a CA in ${ca} (${code})`;
    default:
      return null;
  }
}
