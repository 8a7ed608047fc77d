/** What `simulate --faults` can break, by the simulator's names (which is not loaded for its help). */
export const faultTexts: Readonly<Record<string, string>> = {
  crash: "a process is killed",
  restart: "killed or stopped, and started again at once",
  stop: "a node leaves in good order, at any time",
  drain: "a node leaves in good order and stays away",
  pauseShort: "a process stands still, for less than a lease",
  pauseLong: "for longer",
  stallControl: "only its control plane",
  slowNode: "everything that a node does takes long",
  skewClock: "a clock runs too fast or too slow",
  jumpWall: "a calendar jumps",
  cutShort: "a node cannot reach the lock server, for less than a lease",
  cutLong: "for longer",
  cutRequests: "only what it asks is lost",
  cutReplies: "only what it is told",
  badNotices: "what the lock server tells it is lost, doubled or late",
  badCalls: "what it asks is",
  restartLockServer: "the lock server comes back with nothing",
  rollBackLockServer: "without its last writes",
  splitLockServer: "a replica without the last writes takes over, unknown to one node",
  writeErrors: "writes to a range of a disk fail",
  readErrors: "reads do",
  deadDisk: "everything does",
  slowDisk: "a disk is slow",
  lateDisk: "a disk answers when others may have taken over",
  repairDisk: "a disk that failed works again and is added",
  moveMember: "a member is failed, removed, added or re-added",
  replaceMember: "a member is replaced by a spare",
  addDisk: "a disk is added",
  removeSpare: "a spare is removed",
  growSize: "the array grows",
  syncAction: "copies are checked or repaired, or nothing is copied for a while",
  hangDisk: "a disk answers nothing for a while, perhaps for longer than it may",
  powerCut: "everything loses power: what is not flushed is lost, what is under way is torn",
};

export const faultHelp = (): string => {
  const kinds = Object.entries(faultTexts).map(([kind, text]) => `${kind} (${text})`);
  return `what breaks: all (each seed draws some), or kinds by name: ${kinds.join("; ")}`;
};
