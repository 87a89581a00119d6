import Status
import Testing

@Suite("The files of the status page")
struct PageAssetsTests {
  static func text(_ path: String) throws -> String {
    String(decoding: try #require(PageAssets.all[path], "\(path)").bytes, as: UTF8.self)
  }

  /// What stands between `start` and `end`, each time.
  static func found(in text: String, from start: String, to end: Character) -> [String] {
    text.ranges(of: start).map { String(text[$0.upperBound...].prefix { $0 != end }) }
  }

  @Test("are all there that the page and its modules name, and are small")
  func complete() throws {
    let index = try PageAssetsTests.text("/")
    for name in PageAssetsTests.found(in: index, from: "src=\"", to: "\"")
      + PageAssetsTests.found(in: index, from: "<link rel=\"icon\" href=\"", to: "\"")
      + PageAssetsTests.found(in: index, from: "<link rel=\"stylesheet\" href=\"", to: "\"")
    {
      #expect(PageAssets.all["/\(name)"] != nil, "\(name)")
    }
    for path in PageAssets.all.keys where path.hasSuffix(".js") {
      for name in PageAssetsTests.found(in: try PageAssetsTests.text(path), from: "from './", to: "'") {
        #expect(PageAssets.all["/page/\(name)"] != nil, "\(name), of \(path)")
      }
    }
    #expect(PageAssets.all.values.reduce(0) { $0 + $1.bytes.count } < 100_000)
  }

  @Test("never make markup of what they are given, and have no script or style in the page itself")
  func textOnly() throws {
    for (path, asset) in PageAssets.all {
      let text = String(decoding: asset.bytes, as: UTF8.self)
      for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
        #expect(!text.contains(word), "\(word) in \(path)")
      }
    }
    let index = try PageAssetsTests.text("/")
    #expect(!index.contains("<style") && !index.contains(" style=") && !index.contains("onclick"))
    #expect(PageAssetsTests.found(in: index, from: "<script ", to: ">").allSatisfy { $0.contains("src=") })
  }

  @Test("load nothing from elsewhere: the policy permits the gateway alone")
  func policy() throws {
    for (path, asset) in PageAssets.all {
      let policy = try #require(asset.policy, "\(path)")
      #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self';"))
      #expect(!policy.contains("unsafe") && !policy.contains("*") && !policy.contains("http"))
      #expect(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'none'"))
    }
  }
}
