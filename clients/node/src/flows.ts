/**
 * Flows: tasks that wait for each other, as values that are pushed with `queue.pushFlow(flow)`.
 *
 *     chain(fetch.with(url), group(resize.with(1), resize.with(2)), publish.with())
 *
 * This file also decides which tasks are pushed together, and in which order.
 */

import { Call, type Payload } from "./call.js";
import type { CallbackOptions, OnDead } from "./commands.js";

/** The server's limit of tasks in one command, and of the waits that one command adds. */
export const MOST = 1000;
const MOST_WAITS = 10_000;
/** How long a done task is kept if others of its flow wait for it: a day. Its result has to be there when they run. */
const RETAIN_MS = 86_400_000;

/** The options of a step. */
export interface StepOptions extends CallbackOptions {
  /** What happens if a step that it waits for ends otherwise than done. */
  onDead?: OnDead | undefined;
}

class Step {
  constructor(
    readonly payload: Payload,
    readonly options: StepOptions,
  ) {}
}

class Several {
  constructor(
    readonly flows: readonly (Step | Several)[],
    readonly isChain: boolean,
  ) {}
}

/** A payload, a step, a chain or a group. */
export type Flow = Payload | Step | Several;

/** The ids of a flow in its shape: an id for a step, a list for a chain or a group. */
export type FlowIds = string | FlowIds[];

/** A task of a flow with options of its own: `step(resize.with(7), { priority: 5 })`. */
export function step(payload: Payload, options: StepOptions = {}): Step {
  return new Step(payload, options);
}

/** Flows one after the other: each begins when all tasks at the end of the one before it are done. */
export function chain(...flows: Flow[]): Several {
  return several(flows, true);
}

/** Flows side by side. This is not the option `group` of a push, which names a tenant. */
export function group(...flows: Flow[]): Several {
  return several(flows, false);
}

/** A group and what comes when all of it is done. A batch has a callback that runs in any case. */
export function chord(header: readonly Flow[], callback: Flow): Several {
  return chain(group(...header), callback);
}

function several(flows: readonly Flow[], isChain: boolean): Several {
  if (!flows.length) throw new TypeError(`${isChain ? "chain" : "group"} needs at least one payload or flow`);
  return new Several(flows.map(asFlow), isChain);
}

export function asFlow(one: Flow): Step | Several {
  if (one instanceof Step || one instanceof Several) return one;
  if (one instanceof Call || typeof one === "string" || one instanceof Uint8Array) return new Step(one, {});
  throw new TypeError("a flow is made of payloads, step(…), chain(…) and group(…)");
}

/** Tasks that one command pushes, because they have equal options and wait for the same tasks. */
export interface Part {
  /** Their places in the order of the flow. */
  readonly places: readonly number[];
  readonly payloads: readonly Payload[];
  readonly options: StepOptions;
  /** The places of the tasks that they wait for. */
  readonly parents: readonly number[];
}

interface Node {
  readonly step: Step;
  readonly parents: readonly number[];
  isParent: boolean;
  /** The place of a task that must be pushed before this one: results come in the order of the flow. */
  before: number | undefined;
  level: number;
}

/** The commands that push a flow, in order. The first steps wait for `outer` other tasks. */
export function planned(flow: Step | Several, common: StepOptions, outer: number): Part[] {
  const nodes: Node[] = [];
  unfold(flow, [], nodes);
  const at = (place: number): Node => nodes[place] as Node;
  for (const node of nodes) {
    node.level = Math.max(0, ...node.parents.map((parent) => at(parent).level + 1));
    if (node.before !== undefined) node.level = Math.max(node.level, at(node.before).level);
  }
  const order = nodes.map((_, place) => place).sort((one, other) => at(one).level - at(other).level || one - other);
  const parts: { places: number[]; options: StepOptions; parents: readonly number[]; like: string }[] = [];
  for (const place of order) {
    const { step: one, parents, isParent } = at(place);
    const options: StepOptions = { ...common, ...one.options };
    if (isParent) options.retainMs ??= RETAIN_MS;
    const like = JSON.stringify([parents, Object.entries(options).sort()]);
    const last = parts.at(-1);
    if (last?.like === like && last.places.length < mostAtOnce(parents.length || outer)) last.places.push(place);
    else parts.push({ places: [place], options, parents, like });
  }
  return parts.map((part) => ({ ...part, payloads: part.places.map((place) => at(place).step.payload) }));
}

/** How many tasks that each wait for this many others can be pushed by one command. */
export function mostAtOnce(parents: number): number {
  return Math.max(1, Math.min(MOST, Math.floor(MOST_WAITS / Math.max(1, parents))));
}

/** Append the tasks of a flow that waits for `parents`, in order. Returns the places of those at its end. */
function unfold(flow: Step | Several, parents: readonly number[], nodes: Node[]): number[] {
  if (flow instanceof Step) {
    return [nodes.push({ step: flow, parents, isParent: false, before: undefined, level: 0 }) - 1];
  }
  if (!flow.isChain) return flow.flows.flatMap((one) => unfold(one, parents, nodes));
  let ends: number[] | undefined;
  for (const one of flow.flows) {
    if (ends && ends.length > MOST) {
      throw new RangeError(
        `a task can wait for at most ${MOST} tasks, not ${ends.length}: push them into a batch, whose callback waits for any number`,
      );
    }
    ends?.forEach((place, number) => {
      const node = nodes[place] as Node;
      node.isParent = true;
      if (number) node.before = (ends as number[])[number - 1];
    });
    ends = unfold(one, ends ?? parents, nodes);
  }
  return ends as number[];
}

/** The ids of a flow's tasks, which come in its order, in the shape of the flow. */
export function shaped(flow: Step | Several, ids: Iterator<string>): FlowIds {
  return flow instanceof Step ? (ids.next().value as string) : flow.flows.map((one) => shaped(one, ids));
}
