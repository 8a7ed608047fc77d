/**
 * What it means that a node holds a lock of an array, for whoever waits for it. The meanings are those of the protocol
 * (messages/message-bus.ts, cluster/slot-locks.ts); `message` is the one that is being sent, if it can be read.
 */
export function holderText(resource: string, node: string, mode: string, message: string | null): string {
  const what = message === null ? "a message" : message;
  switch (resource) {
    case "token":
      return `${node} has the right to speak`;
    case "message":
      return mode === "PR" ? `${node} asks to hear the next message` : `${node} reads or writes ${what}`;
    case "ack":
      return `${node} is processing ${what}`;
    case "no-new-dev":
      return `${node} has not found the new device yet`;
    case "resync":
      return `${node} resyncs`;
    default:
      if (resource.startsWith("result") && mode === "PW") return `${node} has refused a message`;
      return resource.startsWith("bitmap") && mode === "PW" ? `${node} owns this slot` : `${node} holds ${mode}`;
  }
}
