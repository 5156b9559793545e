/** Puts nodes under their parents and gives each the lines that lead to it. */
export interface TreeNode {
  readonly id: string;
  readonly parentId: string;
}

export interface TreeLine<T> {
  readonly node: T;
  /** What stands before the node: "│  └─ ". */
  readonly branch: string;
  /** What stands before lines that belong to the node, below it. */
  readonly below: string;
}

/** Siblings keep their order; a node whose parent is not among them is a top. */
export function drawTree<T extends TreeNode>(nodes: readonly T[]): TreeLine<T>[] {
  const ids = new Set(nodes.map(({ id }) => id));
  const children = Map.groupBy(nodes, ({ parentId }) => (ids.has(parentId) ? parentId : ""));
  const lines: TreeLine<T>[] = [];
  const add = (siblings: readonly T[], before: string, isTop: boolean) => {
    for (const [at, node] of siblings.entries()) {
      const last = at === siblings.length - 1;
      const own = children.get(node.id) ?? [];
      const next = isTop ? "" : `${before}${last ? "   " : "│  "}`;
      lines.push({
        node,
        branch: isTop ? "" : `${before}${last ? "└─ " : "├─ "}`,
        below: `${next}${own.length > 0 ? "│  " : "   "}`,
      });
      add(own, next, false);
    }
  };
  add(children.get("") ?? [], "", true);
  return lines;
}
