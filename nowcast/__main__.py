"""Let `python -m nowcast` run the command `nowcast`."""

from nowcast.startup import settle

settle()

from nowcast.cli import main  # noqa: E402  # after `settle`, so that no module comes from the working folder

if __name__ == "__main__":
    main()
