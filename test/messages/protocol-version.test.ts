import { describe, expect, it } from "vitest";
import { agreeOnProtocol, type ProtocolRange, type Speech } from "../../src/messages/protocol-version.ts";

const range = (oldest: number, newest: number, features = 0): ProtocolRange => ({ oldest, newest, features });
const member = (own: ProtocolRange, version: number, features = own.features) => ({
  node: "n1",
  speech: { range: own, spoken: { version, features } } satisfies Speech,
});

describe("the protocol of a cluster", () => {
  it("is the newest that its first member knows", () => {
    expect(agreeOnProtocol(range(1, 3, 5), [])).toEqual({ version: 3, features: 5 });
  });

  it("stays what it is when newer nodes join", () => {
    expect(agreeOnProtocol(range(1, 3, 7), [member(range(1, 2, 5), 2)])).toEqual({ version: 2, features: 5 });
    expect(agreeOnProtocol(range(1, 2, 5), [member(range(1, 3, 7), 2, 5)])).toEqual({ version: 2, features: 5 });
  });

  it("is refused by a node that is too old or too new for it; the refusal names both", () => {
    expect(() => agreeOnProtocol(range(1, 2), [member(range(1, 3), 3)])).toThrow(
      expect.objectContaining({
        code: "E_PROTOCOL_VERSION",
        why: "n1 speaks version 3 of the cluster protocol, this node speaks 1 to 2",
      }),
    );
    expect(() => agreeOnProtocol(range(3, 3), [member(range(1, 2), 2)])).toThrow(
      expect.objectContaining({ why: "n1 speaks version 2 of the cluster protocol, this node speaks 3 only" }),
    );
  });

  it("is refused by a node that lacks a feature which the others rely on", () => {
    expect(() => agreeOnProtocol(range(1, 1, 1), [member(range(1, 1, 7), 1)])).toThrow(
      expect.objectContaining({ why: "n1 relies on features 0x7, this node lacks 0x6" }),
    );
  });
});
