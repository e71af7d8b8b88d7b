"""`python -m nowcast` is `nowcast`."""

from nowcast.startup import settle

settle()

from nowcast.cli import main  # noqa: E402  # not before no module can come from the working folder

if __name__ == "__main__":
    main()
