import Pipeline
import Testing

@Suite("Window aggregates as they are written")
struct AggregateParserTests {
  private typealias Call = AggregateParser.Call

  private func parse(_ source: String) throws(AggregateError) -> AggregateParser.Call {
    try AggregateParser(captures: ["device"]).parse(source)
  }

  @Test("every function is found by its name, whatever its case, and its argument is kept as it is written")
  func functions() throws {
    for (source, call) in [
      ("avg(temperature)", Call(.average, "temperature")),
      ("AVG( \"object.temperature\" )", Call(.average, "\"object.temperature\"")),
      ("mean(t)", Call(.average, "t")), ("sum(energy)", Call(.sum, "energy")), ("min(t)", Call(.minimum, "t")),
      ("Max(t)", Call(.maximum, "t")), ("count(*)", Call(.count, nil)), ("count( * )", Call(.count, nil)),
      ("count(t)", Call(.count, "t")), ("count(DISTINCT state)", Call(.distinct, "state")),
      ("distinct(state)", Call(.distinct, "state")), ("first(t)", Call(.first, "t")),
      ("first_value(t)", Call(.first, "t")), ("last(t)", Call(.last, "t")), ("last_value(t)", Call(.last, "t")),
      ("stddev(t)", Call(.standardDeviation, "t")), ("stddev_samp(t)", Call(.standardDeviation, "t")),
      ("percentile(t, 0.95)", Call(.percentile(0.95), "t")), ("percentile(t,1)", Call(.percentile(1), "t")),
      ("median(t)", Call(.percentile(0.5), "t")), ("rate(total)", Call(.rate, "total")),
      ("time_weighted_avg(level)", Call(.timeWeightedAverage, "level")),
      ("max(max(a, b))", Call(.maximum, "max(a, b)")),
      (
        "sum(CASE WHEN state = 'on, (really)' THEN 1 ELSE 0 END)",
        Call(.sum, "CASE WHEN state = 'on, (really)' THEN 1 ELSE 0 END")
      ),
      ("percentile(round(t, 1), .5)", Call(.percentile(0.5), "round(t, 1)")),
      ("avg((a + b) / 2)", Call(.average, "(a + b) / 2")), ("last(device)", Call(.last, "device")),
      ("avg(first)", Call(.average, "first")),
    ] {
      #expect(try parse(source) == call, "\(source)")
    }
    for name in AggregateParser.names {
      #expect(throws: Never.self) { try parse(name == "percentile" ? "percentile(t, 0.5)" : "\(name)(t)") }
    }
  }

  @Test(
    "what is no aggregate is refused with its place and a way out",
    arguments: [
      ("", nil, "the entry is empty"),
      ("temperature", 0, "say which is wanted, as in avg(temperature) or last(temperature)"),
      ("\"object.t\"", 0, "as in avg(\"object.t\")"),
      ("a + b", 0, "say which is wanted"), ("round(t, 1)", 0, "say which is wanted"),
      ("max(t) - min(t)", 7, "emit each under a name of its own"),
      ("100 * avg(t)", 0, "emit each under a name of its own"),
      ("round(avg(t), 1)", 0, "emit each under a name of its own"),
      ("avg(sum(t))", 4, "sum() stands within another aggregate"),
      ("avg(max(t))", 7, "max() of one value needs a window"),
      ("max(a, b)", 5, "max(max(a, b)) aggregates that of several fields"),
      ("avg(a, b)", 5, "avg() takes one value"),
      ("avg(t) AS mean", 7, "leave AS and the name out"),
      ("avg(t) OVER ()", 7, "OVER is not available"),
      ("count(*) FILTER (WHERE t > 1)", 9, "CASE WHEN"),
      ("avgg(t)", 0, "there is no aggregate avgg(); there are avg, sum"),
      ("avg()", 3, "avg() of nothing"), ("count()", 5, "write count(*)"), ("avg(*)", 4, "only count(*)"),
      ("avg(DISTINCT t)", 4, "count(DISTINCT field) only"), ("count(DISTINCT)", 14, "a field is missing"),
      ("percentile(t)", 10, "as in percentile(latency, 0.95)"),
      ("percentile(t, 95)", 14, "write 0.95 for the 95th"), ("percentile(t, x)", 13, "a number from 0 to 1"),
      ("percentile(t, 0.5, 1)", 10, "as in percentile(latency, 0.95)"),
      ("avg(t", 3, "not closed"), ("avg(t))", 6, "one aggregate"), ("avg(t +)", 7, "ends too early"),
      ("avg(random())", 4, "a replay"), ("avg((SELECT 1))", 5, "subqueries"), ("avg(t.x)", 5, "double quotes"),
      ("avg('ü', \"ü", 9, "no closing quote"), ("avg(,)", 3, "of nothing"),
    ] as [(String, Int?, String)])
  func refused(_ source: String, _ position: Int?, _ reason: String) throws {
    let error = #expect(throws: AggregateError.self) { try parse(source) }
    #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
    #expect(error?.position == position, "\(error?.description ?? "")")
  }

  @Test("an entry of any length and depth is refused, not followed")
  func hostile() {
    for source in [
      "avg(" + String(repeating: "(", count: 4_000) + "t" + String(repeating: ")", count: 4_000) + ")",
      "avg(" + String(repeating: "t,", count: 4_000) + "t)", "avg(" + String(repeating: "a", count: 10_000) + ")",
      String(repeating: "avg(", count: 2_000),
    ] {
      #expect(throws: AggregateError.self) { try parse(source) }
    }
  }
}
