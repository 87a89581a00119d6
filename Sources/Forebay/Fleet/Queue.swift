/// First in, first out, with room that is taken back.
struct Queue<Element: Sendable>: Sendable {
  private var items: [Element] = []
  private var head = 0

  var first: Element? { head < items.count ? items[head] : nil }

  mutating func append(_ item: Element) { items.append(item) }

  mutating func popFirst() -> Element? {
    guard let item = first else { return nil }
    head += 1
    // Each element is moved once at most for each one that goes.
    if head * 2 > items.count {
      items.removeFirst(head)
      head = 0
    }
    return item
  }
}
