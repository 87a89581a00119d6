import ArgumentParser
import NIOSSL
import NIOPosix
import NIOHTTP1
@main struct M: AsyncParsableCommand { func run() async {} }
