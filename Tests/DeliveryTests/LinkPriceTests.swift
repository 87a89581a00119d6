import Delivery
import Testing

@Suite("The price of a link")
struct LinkPriceTests {
  @Test(
    "an amount per unit is one per megabyte",
    arguments: [("0.12 EUR/MB", 0.12), ("90 EUR/GB", 0.09), ("2 USD/kB", 2_000), ("5000 EUR/TB", 0.005), ("0 €/MB", 0)])
  func amounts(text: String, perMegabyte: Double) throws {
    let price = try #require(LinkPrice(text))
    #expect(abs(price.perMegabyte - perMegabyte) <= 1e-12)
    #expect(abs(price.cost(of: 2_500_000) - 2.5 * perMegabyte) <= 1e-9)
  }

  @Test(
    "anything else is refused",
    arguments: [
      "", "EUR", "0.12", "-1 EUR/MB", "0.12EUR/MB", "1e3 EUR/MB", "nan EUR/MB", "1 EUR/MiB", "1 /MB", "1 E U/MB",
    ])
  func refused(text: String) { #expect(LinkPrice(text) == nil) }
}
